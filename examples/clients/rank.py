"""Ranks candidates over HTTP with `requests`.

    pip install requests
    python rank.py [http://127.0.0.1:8000] [MODEL]
"""

import json
import sys
from pathlib import Path

import requests

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
MODEL = sys.argv[2] if len(sys.argv) > 2 else "feed"

# One session for all requests keeps its connections: a new one for each costs more than the scores.
SESSION = requests.Session()


def rank(context, candidates, *, user, request_id, top_k=None):
    """The best candidates, best first: their places in the request, and each output's scores of them."""
    body = {
        "id": request_id,  # comes back, and stands in the score log
        "user": user,  # says who gets the canary version
        "context": context,  # what all candidates have in common is sent, and computed, once
        "candidates": candidates,  # {column: [a value for each]}, or [{column: value}, ...]
    }
    if top_k is not None:
        body["top_k"] = top_k
    # The server stops working on a request whose time is over. The client waits a little longer than that.
    answer = SESSION.post(
        f"{ADDRESS}/v2/models/{MODEL}/rank",
        json=body,
        headers={"X-Request-Timeout-Ms": "500"},
        timeout=(0.2, 1.0),  # seconds: to connect, to read
    )
    # 503 (too much to do) and 504 (too late) are worth one more try, elsewhere or with fewer candidates;
    # 4xx is a mistake of the request, and says which.
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code}: {answer.json()['error']}")
    reply = answer.json()
    places = reply.get("best", list(range(len(reply["scores"]["ctr"]))))
    return places, reply["scores"], reply["model"]


# The columns are those of the run file that the model was trained with.
REQUEST = json.loads((Path(__file__).parent / "request.json").read_text())

places, scores, model = rank(**REQUEST, user="582", request_id="example-1", top_k=2)
print(f"{model['name']} version {model['version']}")
for place, click, both in zip(places, scores["ctr"], scores["ctcvr"]):
    item = REQUEST["candidates"]["item"][place]
    print(f"item {item}: click {click:.4f}, click and conversion {both:.4f}")

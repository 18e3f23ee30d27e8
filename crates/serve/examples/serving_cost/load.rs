//! Load on a server, from kept connections, each with a thread of its own.

use crate::arguments::Flags;
use crate::bodies::Wire;
use crate::clock::{cpu_seconds, milliseconds, sleep_exactly, summary};
use crate::grpc::Calls;
use crate::http::Http;
use crate::workload::{Form, Request};
use bytes::Bytes;
use ncs_model::CounterRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);

/// One request at a time.
pub(crate) trait Connection {
    /// Waits for the whole answer; an error is a code.
    fn call(&mut self, request: &Bytes) -> Result<(), String>;
}

/// What is asked of whom, and how.
struct Plan {
    to: SocketAddr,
    wire: Wire,
    requests: Vec<Bytes>,
    connections: usize,
    seconds: Duration,
    /// When requests are to be sent, from the start; `None`: each as soon as the one before is answered.
    due: Option<Vec<Duration>>,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: BTreeMap<String, u64>,
    /// How much later than meant a request left that had a connection waiting for its time.
    late: Vec<Duration>,
    /// Requests whose time had come before a connection was free.
    waited: u64,
}

/// Loads the server, and says what its callers saw.
pub(crate) fn load(flags: &Flags) -> Result<Value, String> {
    let wire: String = flags.needed("wire")?;
    let values: String = flags.or("values", "strings".to_owned())?;
    let rate: Option<f64> = flags.maybe("rate")?;
    let arrivals: String = flags.or("arrivals", "poisson".to_owned())?;
    let plan = plan(flags, &wire, &values, rate, &arrivals)?;
    let process: Option<u32> = flags.maybe("server")?;
    let server = process.map_or_else(String::new, |process| process.to_string());
    let mut record = run(&plan, &server)?;
    record["what"] = json!("load");
    record["wire"] = json!(wire);
    record["values"] = json!(values);
    record["connections"] = json!(plan.connections);
    record["bytes"] = json!(plan.requests[0].len());
    record["rate"] = json!(rate);
    record["arrivals"] = json!(rate.map(|_| arrivals));
    Ok(record)
}

fn plan(
    flags: &Flags,
    wire: &str,
    values: &str,
    rate: Option<f64>,
    arrivals: &str,
) -> Result<Plan, String> {
    let seconds = Duration::from_secs_f64(flags.or("seconds", 5.0)?);
    let wire: Wire = wire
        .parse()
        .map_err(|()| "--wire rank-json|infer-http|rank-grpc|infer-grpc")?;
    let form: Form = values.parse().map_err(|()| "--values integers|strings")?;
    let due = match (rate, arrivals) {
        (None, _) => None,
        (Some(rate), "poisson") => Some(poisson(rate, seconds)),
        (Some(rate), "even") => Some(even(rate, seconds)),
        _ => return Err("--arrivals poisson|even".to_owned()),
    };
    let requests = Request::all();
    Ok(Plan {
        to: flags.needed("to")?,
        wire,
        requests: requests.iter().map(|one| wire.bytes(one, form)).collect(),
        connections: flags.or("connections", 1)?,
        seconds,
        due,
    })
}

/// Times that do not know of each other, `rate` a second on average.
fn poisson(rate: f64, seconds: Duration) -> Vec<Duration> {
    let rng = CounterRng::new(1, "arrivals");
    let gaps = (0..).map(|i| -(1.0 - rng.uniform(i)).ln() / rate);
    let times = gaps.scan(0.0, |time, gap| {
        *time += gap;
        Some(Duration::from_secs_f64(*time))
    });
    times.take_while(|time| *time < seconds).collect()
}

fn even(rate: f64, seconds: Duration) -> Vec<Duration> {
    let times = (0..).map(|i| Duration::from_secs_f64(f64::from(i) / rate));
    times.take_while(|time| *time < seconds).collect()
}

fn run(plan: &Plan, server: &str) -> Result<Value, String> {
    sleep_exactly();
    let barrier = Barrier::new(plan.connections + 1);
    let next = AtomicUsize::new(0);
    let one = |number: usize| {
        let connection = connect(plan);
        let connection = connection.map(|mut connection| {
            warm_up(plan, &mut *connection, number);
            connection
        });
        barrier.wait();
        let began = Instant::now();
        let mut connection = connection?;
        Ok(match &plan.due {
            None => as_fast_as_answered(plan, &mut *connection, number, began),
            Some(due) => at_their_times(plan, &mut *connection, due, &next, began),
        })
    };
    std::thread::scope(|scope| {
        let one = &one;
        let threads = 0..plan.connections;
        let threads: Vec<_> = threads
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        barrier.wait();
        let (began, before) = (Instant::now(), cpu(server));
        let seen = threads.into_iter().map(|thread| thread.join());
        let seen: Result<Vec<Seen>, String> = seen.map(|seen| seen.expect("it calls")).collect();
        Ok(record(seen?, began.elapsed(), [before, cpu(server)]))
    })
}

/// CPU seconds of the client and of the server.
fn cpu(server: &str) -> [f64; 2] {
    [cpu_seconds("self"), cpu_seconds(server)]
}

fn connect(plan: &Plan) -> Result<Box<dyn Connection>, String> {
    Ok(match plan.wire {
        Wire::RankJson | Wire::InferHttp => Box::new(Http::new(plan.to)),
        Wire::RankGrpc | Wire::InferGrpc => Box::new(Calls::new(plan.to, plan.wire)?),
    })
}

fn warm_up(plan: &Plan, connection: &mut dyn Connection, number: usize) {
    let began = Instant::now();
    // With times to keep, there are many connections, which would make a load of their own.
    let most = plan.due.as_ref().map_or(usize::MAX, |_| 4);
    for turn in 0..most {
        // What goes wrong here goes wrong later, too, where it is counted.
        let _ = connection.call(request(plan, number + turn));
        if began.elapsed() > WARM_UP {
            return;
        }
    }
}

fn request(plan: &Plan, turn: usize) -> &Bytes {
    &plan.requests[turn % plan.requests.len()]
}

fn as_fast_as_answered(
    plan: &Plan,
    connection: &mut dyn Connection,
    number: usize,
    began: Instant,
) -> Seen {
    let mut seen = Seen::default();
    // ParameterIndex start at different requests.
    let mut turn = number * 7;
    while began.elapsed() < plan.seconds {
        seen.call(connection, request(plan, turn), Instant::now());
        turn += 1;
    }
    seen
}

/// Whoever is free takes the next time, waits for it, and calls. Where nobody was free in time, the
/// latency counts from the time that was meant all the same.
fn at_their_times(
    plan: &Plan,
    connection: &mut dyn Connection,
    due: &[Duration],
    next: &AtomicUsize,
    began: Instant,
) -> Seen {
    let mut seen = Seen::default();
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let Some(&time) = due.get(turn) else {
            return seen;
        };
        let meant = began + time;
        let left = meant.saturating_duration_since(Instant::now());
        if left.is_zero() {
            seen.waited += 1;
        } else {
            std::thread::sleep(left);
            seen.late.push(meant.elapsed());
        }
        seen.call(connection, request(plan, turn), meant);
    }
}

impl Seen {
    fn call(&mut self, connection: &mut dyn Connection, request: &Bytes, meant: Instant) {
        match connection.call(request) {
            Ok(()) => self.latencies.push(meant.elapsed()),
            Err(code) => *self.errors.entry(code).or_default() += 1,
        }
    }
}

fn record(seen: Vec<Seen>, wall: Duration, [before, after]: [[f64; 2]; 2]) -> Value {
    let mut all = Seen::default();
    for one in seen {
        all.latencies.extend(one.latencies);
        all.late.extend(one.late);
        all.waited += one.waited;
        for (code, n) in one.errors {
            *all.errors.entry(code).or_default() += n;
        }
    }
    all.late.sort_unstable();
    let late = all.late.get(all.late.len() * 99 / 100).copied();
    let n = all.latencies.len() as f64;
    let a_request = |who: usize| (after[who] - before[who]) * 1e3 / n;
    let mut record = summary(all.latencies, wall);
    record["client_cpu_ms"] = json!(a_request(0));
    record["server_cpu_ms"] = json!(a_request(1));
    record["errors"] = json!(all.errors);
    record["sent_late_p99_ms"] = json!(late.map(milliseconds));
    record["waited_for_a_connection"] = json!(all.waited);
    record
}

"""The settings of a run, for completion in editors and for type checkers.

Written by tools/config.py from schema/run.schema.json. At run time they are plain dictionaries, and the run file's own
checks hold: unknown keys name the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict, Union


AverageStart = Union[Literal["growing"], Literal["unbiased"]]


class AverageSettings(TypedDict, total=False):
    """An exponential moving average.

    Keys:
        decay: Decay a step.
        start: The first steps.
    """

    decay: float
    start: AverageStart


Average = Union[Literal["ema"], float, AverageSettings]


Balance = Union[Literal["fixed"], Literal["uncertainty"], Literal["pcgrad"]]


CalibrationKind = Union[Literal["auto"], Literal["none"], Literal["platt"], Literal["isotonic"]]


class Calibration(TypedDict, total=False):
    """Calibration of probabilities.

    Keys:
        kind: The calibrator that the model carries for each task, fitted to the validation rows.
    """

    kind: CalibrationKind


ClickLogit = Union[Literal["none"], Literal["learned"], Literal["permuted"]]


ColumnKind = Union[Literal["categorical"], Literal["list"], Literal["numeric"]]


Hash = Union[Literal["xxh3"], Literal["farm"], Literal["murmur3"]]


class Vocabulary(TypedDict, total=False):
    """Ids by vocabulary.

    Keys:
        max_size: Keep at most so many values, the most frequent.
        min_count: Values seen fewer times than this in training are unknown.
    """

    max_size: int
    min_count: int


class EventAttribute(TypedDict, total=False):
    """An attribute of the events of a sequence: a list for each row, with one value for each event.

    Keys:
        buckets: Ids by hash, into so many buckets.
        column: The column of the log.
        hash: The hash, with buckets.
        missing: Texts that mean "missing", beside the empty text.
        quantiles: The values are numbers, such as the age of an event or the share that was watched: the quantile
            that a number falls into, of so many, is its id.
        table: The id space: the name of another column that it shares ids with, such as the candidate's, or a name of
            its own.
        target: The feature of the candidate that attention compares it with, with pooling = "din" or "mha". Default:
            table, if that is a feature.
        vocabulary: Ids by vocabulary: values seen often enough in training have rows of their own.
    """

    buckets: int
    column: str
    hash: Hash
    missing: list[str]
    quantiles: int
    table: str
    target: str
    vocabulary: Vocabulary


Unit = Union[Literal["days"], Literal["seconds"], Literal["millis"], Literal["micros"], Literal["nanos"]]


class EventDecay(TypedDict, total=False):
    """Weights of events that decay with their age: at the age of half_life an event counts half, at twice that age a
        quarter.

    Keys:
        ages: The list column with the age of each event, in the unit of half_life.
        at: With times: the column with the time from which ages are counted, such as that of the impression.
        half_life: The age at which an event counts half: in hours with times, in the unit of the ages otherwise.
        learned: Whether training learns the half-life, which then begins at half_life.
        times: Instead of ages: the list column with the time of each event.
        unit: With times: the unit of times that are numbers. Default: told by their size.
    """

    ages: str
    at: str
    half_life: float
    learned: bool
    times: str
    unit: Unit


class Init(TypedDict, total=False):
    """A file of vectors by id.

    Keys:
        file: The file: Parquet, CSV, JSON lines or Arrow with an id and a vector in each row, or a matrix in NumPy's
            (.npy) or the safetensors format. Vectors must have network.dim numbers. Relative paths start at the run
            file.
        frozen: Whether training leaves these vectors as they are. Default: they are trained further.
        id: The column or tensor of the ids. Default: "id", or in a file of two columns the one without lists.
        ids: For matrices: a file with the id of each row, a text with one on each line or integers in NumPy's format.
        vector: The column or tensor of the vectors. Default: "vector", or in a file of two columns the one of lists.
    """

    file: str
    frozen: bool
    id: str
    ids: str
    vector: str


Newest = Union[Literal["last"], Literal["first"]]


Pooling = Union[Literal["mean"], Literal["sum"], Literal["padded_mean"]]


SequencePooling = Union[Literal["din"], Literal["mha"], Literal["mean"], Literal["last"]]


TimePart = Union[Literal["hour"], Literal["weekday"], Literal["hour_of_week"], Literal["day"], Literal["month"]]


Transform = Union[Literal["piecewise"], Literal["standardise"], Literal["log"], Literal["quantiles"]]


class ColumnSettingsCategorical(TypedDict, total=False):
    """One value a row, turned into an id.

    Keys:
        buckets: Ids by hash, into so many buckets.
        column: The column of the log; without it, the name of the feature.
        hash: The hash, with buckets.
        init: Vectors of a file at which the vectors of its values begin.
        kind:
        missing: Texts that mean "missing", beside null and the empty text.
        table: The id space: the name of another column that it shares ids with, or a name of its own.
        vocabulary: Ids by vocabulary: values seen often enough in training have rows of their own.
    """

    buckets: int
    column: str
    hash: Hash
    init: Init
    kind: Literal["categorical"]
    missing: list[str]
    table: str
    vocabulary: Vocabulary


class ColumnSettingsList(TypedDict, total=False):
    """Several values a row, turned into ids; their vectors are pooled into one.

    Keys:
        buckets: Ids by hash, into so many buckets.
        column: The column of the log; without it, the name of the feature.
        hash: The hash, with buckets.
        init: Vectors of a file at which the vectors of its values begin.
        kind:
        max_values: Keep the first so many values.
        missing: Texts that mean "missing", beside null and the empty text.
        pooling: Pooling of the values' vectors into one.
        separator: Splits a text into values.
        table: The id space: the name of another column that it shares ids with, or a name of its own.
        vocabulary: Ids by vocabulary: values seen often enough in training have rows of their own.
        weight_separator: The character between a value and its weight, where each text holds both, such as ":" in
            "sport:0.5". A value without it has weight 1.
        weights: A column of lists of weights, one for each value: the mean or sum is that of the vectors times the
            weights.
    """

    buckets: int
    column: str
    hash: Hash
    init: Init
    kind: Literal["list"]
    max_values: int
    missing: list[str]
    pooling: Pooling
    separator: str
    table: str
    vocabulary: Vocabulary
    weight_separator: str
    weights: str


class ColumnSettingsNumeric(TypedDict, total=False):
    """A number.

    Keys:
        boundaries: Boundaries of buckets, ascending, in the place of a transform: the bucket that a number falls into
            is its id. A number at a boundary is in the upper bucket.
        buckets: Number of pieces, with transform = "piecewise" (default: 16), or of quantiles, with transform =
            "quantiles" (default: 32).
        column: The column of the log; without it, the name of the feature.
        kind:
        missing: Texts that mean "missing", beside null and the empty text.
        since: A second column: both hold times, and the number is the hours from the time in this column to the
            other, such as the age of an item when it is shown.
        transform: Encoding of the number.
        unit: Unit of times that are numbers, with since. Default: told by the size of each number.
    """

    boundaries: list[float]
    buckets: int
    column: str
    kind: Literal["numeric"]
    missing: list[str]
    since: str
    transform: Transform
    unit: Unit


class ColumnSettingsTime(TypedDict, total=False):
    """A part of a time as a category, such as the hour of the day. The column holds times, texts in ISO 8601 or numbers
        that count since 1970.

    Keys:
        column: The column of the log; without it, the name of the feature.
        kind:
        missing: Texts that mean "missing", beside null and the empty text.
        part: The part.
        unit: Unit of times that are numbers. Default: told by the size of each number.
        utc_offset: Hours from UTC to the time zone in which the part is taken, in quarters of an hour; summer time is
            not known.
    """

    column: str
    kind: Literal["time"]
    missing: list[str]
    part: TimePart
    unit: Unit
    utc_offset: float


class ColumnSettingsCross(TypedDict, total=False):
    """A category for each combination of the values of two or three features, by hash: missing where one of them is. In
        requests it follows from these features.

    Keys:
        buckets: Number of buckets; more than there are combinations.
        kind:
        of: The features: categorical columns of [columns], each with one value a row.
    """

    buckets: int
    kind: Literal["cross"]
    of: list[str]


class ColumnSettingsVector(TypedDict, total=False):
    """A list of numbers of one length, such as an embedding by another model. Null, an empty list and an empty text mean
        that there is none.

    Keys:
        column: The column of the log; without it, the name of the feature.
        kind:
        length: Number of numbers; a vector of another length is an error.
        projected: Whether a learned matrix makes one vector of network.dim of it, which takes part in the products of
            field vectors. Default: its numbers are inputs of the first layer.
        separator: Splits a text into numbers; a text in brackets, such as [0.1, 0.2], needs none.
        standardise: Whether each number is standardised by its mean and deviation over the training rows.
    """

    column: str
    kind: Literal["vector"]
    length: int
    projected: bool
    separator: str
    standardise: bool


class ColumnSettingsSequence(TypedDict, total=False):
    """What a user did before: events with several attributes, each in a list column of its own, parallel to the others.

    Keys:
        attributes: The attributes of the events, by name.
        decay: Weights of events that decay with their age. Default: events count by pooling alone.
        heads: Number of heads, with pooling = "mha". Default: 4.
        hidden: Widths of the two hidden layers of the attention, with pooling = "din". Default: [32, 16].
        kind:
        max_length: Keep so many events, the most recent ones.
        newest: Position of the most recent event in the lists.
        pooling: Pooling of the events.
        separator: Splits a text into values.
        softmax: Whether the weights of the events are a softmax, so that they add up to 1, with pooling = "din".
            Default: false: they are what the network says, as in the paper.
    """

    attributes: Mapping[str, EventAttribute]
    decay: EventDecay
    heads: int
    hidden: list[int]
    kind: Literal["sequence"]
    max_length: int
    newest: Newest
    pooling: SequencePooling
    separator: str
    softmax: bool


ColumnSettings = Union[ColumnSettingsCategorical, ColumnSettingsList, ColumnSettingsNumeric, ColumnSettingsTime, ColumnSettingsCross, ColumnSettingsVector, ColumnSettingsSequence]


Column = Union[ColumnKind, ColumnSettings]


CommonUnits = Union[Literal["auto"], float]


Control = Union[Literal["none"], Literal["random"], Literal["shuffled"], Literal["one_mask"]]


Encoding = Union[Literal["utf-8"], Literal["latin-1"], Literal["windows-1252"]]


Files = Union[str, list[str]]


Format = Union[Literal["tfrecord"], Literal["parquet"], Literal["csv"], Literal["json_lines"], Literal["arrow"]]


class Lookup(TypedDict, total=False):
    """Files of features by id.

    Keys:
        columns: Columns to take of the files. Default: all.
        files: Files, globs and folders with the column of ids, the formats told by their names. Relative paths start
            at the run file.
        row_time: Column of the rows with their moments. Default: the column of data.split, where it divides by time.
        time: Column of the files: the moment from which on a record is known. A row gets the newest record of its id
            that is not later than the row. Default: an id has one record, which every row gets.
        unit: Unit in which numbers count time since 1970, in the files and in the rows. Default: by their size.
    """

    columns: list[str]
    files: Files
    row_time: str
    time: str
    unit: Unit


Moment = Union[float, str]


class SplitHash(TypedDict, total=False):
    """By a hash of a column, so that a user or a session is in one part only. Rows without a value are placed by their
        number.

    Keys:
        by:
        column: The column that is hashed.
        seed: Another seed gives another split. It is not the run's seed: runs with several seeds are compared on the
            same rows.
        test: Share of test.
        valid: Share of validation.
    """

    by: Literal["hash"]
    column: str
    seed: int
    test: float
    valid: float


class SplitRow(TypedDict, total=False):
    """By a hash of the row's number, for logs without users or sessions, or where the test rows show the same users as
        the training rows.

    Keys:
        by:
        seed: Another seed gives another split; it is not the run's seed.
        test: Share of test.
        valid: Share of validation.
    """

    by: Literal["row"]
    seed: int
    test: float
    valid: float


class SplitTime(TypedDict, total=False):
    """By a time column: dates and time stamps, texts in ISO 8601 or another form, or numbers. Without valid and
        valid_from, the latest tenth of the rows is validation.

    Keys:
        by:
        column: The column.
        format: Format of times in the column's texts, where not ISO 8601, as of strftime: `%m/%d/%Y %H:%M`.
        test: Share of test, the latest rows of all; default: 0.
        test_from: Rows from here on are test; beside valid_from.
        valid: Share of validation: the latest rows, up to those of test. Rows of one time are in one part, so that
            the share is met as closely as the times allow; ncs check and ncs train print where it begins.
        valid_from: Rows from here on are validation; instead of valid.
    """

    by: Literal["time"]
    column: str
    format: str
    test: float
    test_from: Moment
    valid: float
    valid_from: Moment


Split = Union[SplitHash, SplitRow, SplitTime]


class Data(TypedDict, total=False):
    """Source of the rows.

    Keys:
        as_of: First day that is too late for train, such as the day of the training; "last 7" are the days before it.
            Without it, "last 7" ends with the latest day that there is.
        cache: Folder of the id cache, which runs can share; default: NCS_CACHE, or rows in the run's own folder.
        days: Days of train to use, where its files are in folders named day=2026-11-28, date= or dt=:
            "2026-11-01..2026-11-14" (either may be left out), or "last 7". Default: all.
        delimiter: Field separator of CSV files; without it, a tab for .tsv and a comma otherwise.
        encoding: Encoding of texts; default: "utf-8". Applies to CSV files and JSON lines as a whole, and in Parquet
            and TFRecord to texts that are not valid UTF-8.
        format: The format; without it, each file's name tells.
        header: Column names of CSV files that have no header line.
        lookup: Features by id: files whose columns are added to every row, by a column of ids, which names the
            section. `ncs serve --lookup` adds the same columns to requests.
        max_broken_share: Share of broken rows above which reading stops with an error; 0 refuses the first one.
        split: Division of the rows of train; files under valid and test are used whole, in addition.
        test: Files, globs and folders of the test part.
        train: Files, globs and folders of the training part, or of everything where split divides it. Relative paths
            start at the run file.
        valid: Files, globs and folders of the validation part.
    """

    as_of: str
    cache: str
    days: str
    delimiter: str
    encoding: Encoding
    format: Format
    header: list[str]
    lookup: Mapping[str, Lookup]
    max_broken_share: float
    split: Split
    test: Files
    train: Files
    valid: Files


class DecaySettingsNone(TypedDict, total=False):
    """No decay.

    Keys:
        kind:
    """

    kind: Literal["none"]


class DecaySettingsLinear(TypedDict, total=False):
    """Linear decay.

    Keys:
        floor: Final learning rate, as a fraction of the full rate.
        kind:
    """

    floor: float
    kind: Literal["linear"]


class DecaySettingsCosine(TypedDict, total=False):
    """Cosine decay.

    Keys:
        floor: Final learning rate, as a fraction of the full rate.
        kind:
    """

    floor: float
    kind: Literal["cosine"]


DecaySettings = Union[DecaySettingsNone, DecaySettingsLinear, DecaySettingsCosine]


Decay = Union[Literal["none"], Literal["linear"], Literal["cosine"], DecaySettings]


Share = float


Density = Union[Literal["evidence"], Literal["auto"], float, Mapping[str, Share]]


ModelFiles = Union[Literal["whole"], Literal["sharded"]]


RankTables = Union[Literal["replicated"], Literal["sharded"]]


class Distributed(TypedDict, total=False):
    """Training on several processes, which an MPI launcher starts. One process alone ignores it.

    Keys:
        model: Files of the table rows in the model's folder: one with all, or one written by each process, its rows,
            at the same time. The model is the same.
        tables: Where the processes hold the tables, with their optimizer moments. The model is the same.
    """

    model: ModelFiles
    tables: RankTables


class EvidenceSettings(TypedDict, total=False):
    """Shrinkage factor of a row: cap I / (I + k), where I = n p (1 - p), n is the number of its labelled training rows
        and p the positive rate of the task.

    Keys:
        cap: Maximum factor.
        guarded: If true, divides the factor s by that of the task in where, if that is larger.
        k: Information at which the factor is cap / 2; default: estimated for each table.
    """

    cap: float
    guarded: bool
    k: float


EmbeddingEvidence = Union[Literal["auto"], Literal["guarded"], Literal["none"], EvidenceSettings]


Epochs = Union[Literal["auto"], int]


class Evaluation(TypedDict, total=False):
    """Evaluation of the trained model.

    Keys:
        bootstrap: Resamplings for each interval; 0 gives no intervals.
        days: Time column by whose days (UTC) the evaluated rows are divided in the report.
        group: Column that groups rows for grouped AUC: a user or a session.
        keep_scores: Keep labels and scores of the evaluated rows in scores.safetensors.
        slices: Columns by whose values the evaluated rows are divided in the report, the 50 most frequent values of
            each; they need not be features. The files of these rows are read once more.
    """

    bootstrap: int
    days: str
    group: str
    keep_scores: bool
    slices: list[str]


Eviction = Union[Literal["least_recent"], Literal["least_evidence"]]


ExpireAfter = Union[int, str]


class PastRate(TypedDict, total=False):
    """Rates of the past, for each task, and the number of rows.

    Keys:
        of: The categorical feature, or the two of a pair.
        tasks: The tasks whose rates are wanted; default: all with labels of 0 and 1.
    """

    of: list[str]
    tasks: list[str]


PastRatesName = Union[Literal["none"], Literal["auto"]]


PastRates = Union[PastRatesName, list[PastRate]]


RateReaders = Union[Literal["clicks"], Literal["all"]]


class Features(TypedDict, total=False):
    """Features that follow from others.

    Keys:
        rates: Counts and rates of the past: how often an id was shown in training, and how often its rows were
            clicked or bought. A training row knows earlier rows only, later rows all training rows; requests send ids
            as before. A list names them: `[[features.rates]]` with `of = ["user_id"]`, or two categorical features,
            and the `tasks`, if not all. Default: "auto" for `network.kind = "sparse_sharing"`, whose masks can give
            them to the click task alone; "none" for other networks.
        rates_for: Tasks that read past counts and rates. Networks without masks have all tasks read them.
    """

    rates: PastRates
    rates_for: RateReaders


class FunnelLossSettingsClicked(TypedDict, total=False):
    """Each task from its own known labels: conversion from clicked rows.

    Keys:
        kind:
    """

    kind: Literal["clicked"]


class FunnelLossSettingsEsmm(TypedDict, total=False):
    """The product of both probabilities against click and conversion, over all rows (Ma et al. 2018). Where several
        tasks state `where`, each is trained by the product of its chain, such as click, cart and purchase.

    Keys:
        kind:
    """

    kind: Literal["esmm"]


class FunnelLossSettingsEscm2Ips(TypedDict, total=False):
    """Clicked rows by inverse propensity, and the product (Wang et al. 2022).

    Keys:
        ctcvr_weight: Weight of the product's loss.
        floor: Lower bound at which propensities are clipped.
        kind:
    """

    ctcvr_weight: float
    floor: float
    kind: Literal["escm2_ips"]


class FunnelLossSettingsEscm2Dr(TypedDict, total=False):
    """Doubly robust with an imputed loss, and the product (Wang et al. 2022).

    Keys:
        ctcvr_weight: Weight of the product's loss.
        floor: Lower bound at which propensities are clipped.
        kind:
    """

    ctcvr_weight: float
    floor: float
    kind: Literal["escm2_dr"]


class FunnelLossSettingsDcmt(TypedDict, total=False):
    """Clicked rows by inverse propensity, a counterfactual head for the others, and the product (Zhu et al. 2023).

    Keys:
        ctcvr_weight: Weight of the product's loss.
        floor: Smallest propensity that a row is divided by.
        kind:
        regularizer: Weight of |1 - p_cvr - p_counterfactual|.
    """

    ctcvr_weight: float
    floor: float
    kind: Literal["dcmt"]
    regularizer: float


class FunnelLossSettingsAitm(TypedDict, total=False):
    """The conversion's head gives the product itself, kept below the click's (Xi et al. 2021).

    Keys:
        constraint: Weight of what it exceeds the click's probability by.
        kind:
    """

    constraint: float
    kind: Literal["aitm"]


FunnelLossSettings = Union[FunnelLossSettingsClicked, FunnelLossSettingsEsmm, FunnelLossSettingsEscm2Ips, FunnelLossSettingsEscm2Dr, FunnelLossSettingsDcmt, FunnelLossSettingsAitm]


FunnelLoss = Union[Literal["clicked"], Literal["esmm"], Literal["escm2_ips"], Literal["escm2_dr"], Literal["dcmt"], Literal["aitm"], FunnelLossSettings]


Gram = Union[Literal["full"], Literal["triangle"], Literal["none"]]


IdDropout = Union[Literal["auto"], Literal["none"], float]


Keep = Union[Literal["best_per_task"], Literal["best_joint"], Literal["last"]]


LateMethod = Union[Literal["wait"], Literal["as_negatives"], Literal["fnw"], Literal["fnc"], Literal["delay_distribution"], Literal["dfm"], Literal["es_dfm"], Literal["defer"], Literal["oracle"]]


class Late(TypedDict, total=False):
    """Labels that become known after a while.

    Keys:
        as_of: Moment up to which training and validation know conversions. Rows whose click is later are not used.
        attribution_days: Days from the click within which a conversion counts; later ones are none.
        by: Column by whose values delays differ, such as a kind of product; without it, all rows have one
            distribution.
        click_time: Column with the time of the click: times, texts in ISO 8601, or seconds.
        conversion_time: Column with the time of the conversion; null where there is none.
        elapsed_days: Days after the click at which a row is a sample, for es_dfm and defer; default: a quarter of
            attribution_days.
        method: Use of training rows that are younger than the attribution window at as_of. Validation takes older
            rows only.
        since: as_of of the training that start.model comes from: training rows teach what came since, each once.
            click_time is then needed in every row, and tasks without late use the rows since.
    """

    as_of: Moment
    attribution_days: float
    by: str
    click_time: str
    conversion_time: str
    elapsed_days: float
    method: LateMethod
    since: Moment


class Lifetime(TypedDict, total=False):
    """Lifetime of the rows of an id space.

    Keys:
        capacity: Rows that a training takes over; the others go, in the order of evict. New values of the training
            come on top. Default: all.
        evict: Which rows beyond the capacity go first: the least recently seen, or those with the least evidence
            (sightings).
        expire_after: Trainings without a sighting after which a row goes, with its vocabulary entry, its past counts
            and its moments; or days, as "30 days", between the days of trainings: those of the folders by day that
            data.train names. Default: it stays.
        min_count: Of hashed ids: sightings from which on a row is trained, counted on over trainings; before it is
            read as an unknown id. Vocabularies have a min_count of their own. Default: from the first.
    """

    capacity: int
    evict: Eviction
    expire_after: ExpireAfter
    min_count: int


class LossSettingsCrossEntropy(TypedDict, total=False):
    """Cross-entropy of a label in {0, 1}.

    Keys:
        kind:
    """

    kind: Literal["cross_entropy"]


class LossSettingsFocal(TypedDict, total=False):
    """Focal loss of a label in {0, 1}: -alpha (1-p)^gamma log p for ones, -(1-alpha) p^gamma log(1-p) for zeros, with
        alpha 0.75 and gamma 2 unless stated.

    Keys:
        alpha: Weight of the ones.
        gamma: Focus on hard rows.
        kind:
    """

    alpha: float
    gamma: float
    kind: Literal["focal"]


class LossSettingsRatio(TypedDict, total=False):
    """Squared error of the sigmoid against a label clipped to [0, 1], over rows with a positive label.

    Keys:
        kind:
    """

    kind: Literal["ratio"]


class LossSettingsSquared(TypedDict, total=False):
    """Squared error of a label that is a number, such as seconds watched: the mean is predicted.

    Keys:
        kind:
    """

    kind: Literal["squared"]


class LossSettingsHuber(TypedDict, total=False):
    """Huber's loss of a label that is a number: squared up to delta, linear beyond it, so that a few large labels do not
        decide.

    Keys:
        delta: Where it becomes linear, in standard deviations of the training labels.
        kind:
    """

    delta: float
    kind: Literal["huber"]


class LossSettingsPoisson(TypedDict, total=False):
    """Poisson deviance of a count or an amount, at least 0: the mean is predicted, as an exponential.

    Keys:
        kind:
    """

    kind: Literal["poisson"]


class LossSettingsWeightedLogistic(TypedDict, total=False):
    """Weighted logistic regression of an amount, at least 0 (Covington et al. 2016): a row is a one that counts by its
        label, and a zero that counts once; the odds are the mean, which is predicted.

    Keys:
        kind:
    """

    kind: Literal["weighted_logistic"]


class LossSettingsZiln(TypedDict, total=False):
    """Zero-inflated log-normal loss of an amount, at least 0, which is mostly 0 and has a few large values (Wang et al.
        2019): three outputs, for the chance of a value above 0 and the mean and deviation of its logarithm; the mean
        is predicted.

    Keys:
        kind:
    """

    kind: Literal["ziln"]


LossSettings = Union[LossSettingsCrossEntropy, LossSettingsFocal, LossSettingsRatio, LossSettingsSquared, LossSettingsHuber, LossSettingsPoisson, LossSettingsWeightedLogistic, LossSettingsZiln]


Loss = Union[Literal["cross_entropy"], Literal["focal"], Literal["ratio"], Literal["squared"], Literal["huber"], Literal["poisson"], Literal["weighted_logistic"], Literal["ziln"], LossSettings]


NetworkKind = Union[Literal["sparse_sharing"], Literal["single_task"], Literal["shared_bottom"], Literal["cross_stitch"], Literal["mmoe"], Literal["ple"], Literal["stem"], Literal["home"], Literal["aitm"], Literal["linear"]]


class Network(TypedDict, total=False):
    """Network and its sizes.

    Keys:
        dim: Length of a field vector.
        dropout: Probability that a hidden unit is dropped in a training step.
        experts: `mmoe`: experts that all tasks share; `ple`: experts of each task at each level; `stem`: experts of
            each task; `home`: experts of each group of tasks on both levels, and of each task. Without it, 4.
        gram: The part of the Gram matrix of the field vectors that the network sees.
        hidden: Widths of the hidden layers, input side first.
        kind: Way of sharing between the tasks.
        levels: `ple`: levels of extraction, one hidden layer each. Without it, 1.
        shared_experts: `ple` and `home`: shared experts at each level; `stem`: shared experts. Without it, 1.
        table_deviation: Standard deviation of a table's initial values; without it, Xavier-normal.
        task_groups: `home`: the groups of tasks, as lists of their names, such as [["click", "like"], ["long_view"]].
            Without it, the tasks that count all rows are one group and those that count rows of another task are one;
            if all are alike, each is a group.
        task_tables: `sparse_sharing`: whether each value has, beside its vector for all tasks, one of as many numbers
            for each task, which only that task reads and changes (the tables of STEM). Products of vectors are of
            those for all tasks.
    """

    dim: int
    dropout: float
    experts: int
    gram: Gram
    hidden: list[int]
    kind: NetworkKind
    levels: int
    shared_experts: int
    table_deviation: float
    task_groups: list[list[str]]
    task_tables: bool


class OptimizerSettingsAdam(TypedDict, total=False):
    """Adam.

    Keys:
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        kind:
    """

    beta1: float
    beta2: float
    epsilon: float
    kind: Literal["adam"]


class OptimizerSettingsAdagrad(TypedDict, total=False):
    """Adagrad.

    Keys:
        epsilon: Added to the root of the accumulated squares.
        kind:
    """

    epsilon: float
    kind: Literal["adagrad"]


class OptimizerSettingsRowwiseAdam(TypedDict, total=False):
    """For tables: Adam with one second moment for each row, of the mean of its squared gradients. Two thirds of the
        memory of Adam.

    Keys:
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        kind:
    """

    beta1: float
    beta2: float
    epsilon: float
    kind: Literal["rowwise_adam"]


class OptimizerSettingsRowwiseAdagrad(TypedDict, total=False):
    """For tables: Adagrad with one sum for each row, of the means of its squared gradients. A third of the memory of
        Adam.

    Keys:
        epsilon: Added to the root of the accumulated squares.
        kind:
    """

    epsilon: float
    kind: Literal["rowwise_adagrad"]


OptimizerSettings = Union[OptimizerSettingsAdam, OptimizerSettingsAdagrad, OptimizerSettingsRowwiseAdam, OptimizerSettingsRowwiseAdagrad]


Optimizer = Union[Literal["adam"], Literal["adagrad"], Literal["rowwise_adam"], Literal["rowwise_adagrad"], OptimizerSettings]


class Parity(TypedDict, total=False):
    """Faults of the paper's released code, for comparison with it.

    Keys:
        stale_momentum: A step for a task moves weights outside its mask by stale momentum.
    """

    stale_momentum: bool


Pick = Union[Literal["best"], Literal["last"]]


class Rewind1(TypedDict, total=False):
    """The weights after some steps of joint training.

    Keys:
        steps: Number of steps.
    """

    steps: int


Rewind = Union[Literal["initial"], Rewind1]


SearchKind = Union[Literal["gradient"], Literal["magnitude"], Literal["random"], Literal["model"]]


class Search(TypedDict, total=False):
    """Mask search.

    Keys:
        common_units: Share of the hidden units that a task may use which is common to all tasks; the others are each
            task's own, and no other reads or moves them (default: 1, all units are common). Of n units a task may use
            n / (T - (T - 1) share), T being the number of tasks: half of them at 0 where there are two. "auto": 0,
            0.5 or 1, by the size of the data, unless short trainings of each differ significantly on validation rows.
        control: Control masks in place of the searched ones, to measure what their choice is worth.
        density: Final share of connections that a task keeps, for all tasks or for each. Without it, 0.4; for
            `gradient` "evidence": those with a gradient signal-to-noise ratio above 2. Or "auto": it tries 0.4, 0.2
            and 0.1.
        epochs_per_round: `magnitude`: passes over the task's rows in each round; `gradient`: over all rows in the
            warm-up, and for each density that is tried. May be a fraction.
        kind: The learner of the masks.
        measure_rho: Whether to measure how much the tasks agree on what they read (rho), for the report and ncs
            inspect: one more pass over the rows, with a copy of the network for each task. It changes nothing in the
            model.
        model: Folder of a trained model whose masks are taken, for search.kind = "model". A relative path starts at
            the run file.
        pick: Round whose mask a task gets.
        rewind: Values that kept weights are reset to after a round.
        rounds: `magnitude`: rounds of training and pruning.
        seed: Seed of the initial weights that the search trains; without it, those of joint training, as it should
            be.
    """

    common_units: CommonUnits
    control: Control
    density: Density
    epochs_per_round: float
    kind: SearchKind
    measure_rho: bool
    model: str
    pick: Pick
    rewind: Rewind
    rounds: int
    seed: int


class Serving(TypedDict, total=False):
    """Requests to a server.

    Keys:
        context_columns: Columns that are equal for all candidates of a request, which clients send as its context.
            Their part of the network is prepared when a server loads the model; for other sets of columns with the
            first request that has them.
    """

    context_columns: list[str]


Shrinkage = Union[Literal["conversions"], Literal["all"], Literal["validated"]]


StartMasks = Union[Literal["keep"], Literal["search"]]


StartMoments = Union[Literal["auto"], Literal["keep"], Literal["reset"]]


class Start(TypedDict, total=False):
    """The model that training goes on from: its weights, ids, scales and masks. Columns, tasks and network must be its
        own; values that are new in the training rows get rows of their own.

    Keys:
        masks: Masks of network.kind = "sparse_sharing".
        model: A folder written by ncs train, or the model in it. A relative path starts at the run file.
        moments: Optimizer moments.
    """

    masks: StartMasks
    model: str
    moments: StartMoments


StepPrecision = Union[Literal["single"], Literal["half"]]


Steps = Union[Literal["alternating"], Literal["joint"]]


StorageKind = Union[Literal["memory"], Literal["file"]]


class Task(TypedDict, total=False):
    """Something to predict of a row.

    Keys:
        label: The label's column; a null label is unknown.
        label_smoothing: Share by which the labels of training rows are moved towards the task's rate: y becomes (1 -
            label_smoothing) y + label_smoothing rate. The mean of the predictions stays, and calibration restores
            their spread.
        late: Labels that become known after a while, such as conversions.
        loss: Loss function.
        negative_rate: Share of the training rows of label 0 to train on; probabilities are corrected for it exactly,
            and validation and test rows stay whole. Default: all rows.
        negative_rate_column: Column with the share of rows of label 0 that the log has kept of rows like each one (1:
            all), for a log that was sampled before; probabilities and metrics are those of all rows.
        truth: Column with the true probability of a synthetic log; used in evaluation only.
        weight: Factor of its loss in joint training.
        weight_column: Column with the weight of each row in the task's loss and metrics, a finite number of at least
            0; without it, every row counts once. (`weight` is the factor of the whole task.)
        where: The task counts only rows where this other task's label is 1.
    """

    label: str
    label_smoothing: float
    late: Late
    loss: Loss
    negative_rate: float
    negative_rate_column: str
    truth: str
    weight: float
    weight_column: str
    where: str


class Training(TypedDict, total=False):
    """Training: losses, optimizers, stopping.

    Keys:
        average: Running average over steps of layers and heads, that is validated and kept in the place of the last
            weights: its decay a step, or "ema" for 0.99, or a table; 0: none.
        balance: Combination of the task losses into one joint step.
        batch: Rows a step (default: 512, more from a million training rows on, 4096 at most).
        checkpoint_steps: Steps between checkpoints at most; one is written every minute in any case, or, where that
            takes long, in a tenth of the time.
        click_logit: Transfer of a logit: a task that counts the rows of another (tasks.*.where) adds that task's
            logit, less its mean, to its own, times a learned number (kappa, from 0), reported with its standard
            error.
        clip_norm: Largest norm of the network's gradient; without it, not clipped.
        decay: Learning-rate schedule until the last step.
        embedding_evidence: Shrinkage (empirical Bayes) of the steps of a table row for a task that counts the rows of
            another (tasks.*.where): less evidence in its labels for the row, smaller steps. Default: "auto" where the
            other settings allow it.
        epochs: Most passes over the training rows, or "auto": until validation no longer improves, 30 at most, with
            several validations in each pass, so that a log whose ids are overfitted after one pass is read about
            once. Default: "auto", and 3 with keep = "last".
        evaluations_per_epoch: Validations an epoch.
        field_dropout: Probability that a field is dropped from a row in a training step: its whole vector, or all its
            numbers, are 0, and those of the other fields are scaled by 1 / (1 - field_dropout).
        id_dropout: Share of ids that become unknown in a training step, so that the model learns to score ids that it
            has never seen: "auto", column by column as many as are unknown in the validation rows; or a share of all.
        keep: Weights that the final model holds.
        learning_rate: Learning rate of the network.
        loss: Loss over click and conversion.
        optimizer: The optimizer of the network.
        parity: Faults of the paper's released code, for comparison with it.
        patience: Stop once no task has improved for so many validations (default: 4 where epochs is not stated;
            otherwise all epochs are run).
        precision: Precision of the products of the network's layers.
        refit: Train the model again on training and validation rows, once validation has chosen: from the same
            initial weights, under the same masks, for as many passes as were best. Validation figures and calibrators
            stay those of the first training.
        shrinkage: Tasks whose steps of table rows shrink so.
        steps: Whether tasks take turns or step together. Without it they take turns, but for a loss or a balance that
            needs them together.
        table_folder: Folder of table_storage = "file", on a local disk; default: the run's folder. Its files have no
            names and end with the process.
        table_learning_rate: Learning rate of the tables; without it, the network's.
        table_optimizer: The optimizer of the tables; without it, the network's.
        table_storage: Where the vectors of tables lie, with their optimizer moments and the copies that validation
            chooses. The model is the same, and an interrupted run goes on with either.
        table_weight_decay: Decoupled weight decay of the vectors of tables: in each step of the rows that it moves,
            so that ids which training sees often are drawn towards 0 as often. Frozen vectors are not.
        warmup_steps: Steps over which the learning rate rises from 0.
        weight_decay: Decoupled weight decay of network weights.
    """

    average: Average
    balance: Balance
    batch: int
    checkpoint_steps: int
    click_logit: ClickLogit
    clip_norm: float
    decay: Decay
    embedding_evidence: EmbeddingEvidence
    epochs: Epochs
    evaluations_per_epoch: int
    field_dropout: float
    id_dropout: IdDropout
    keep: Keep
    learning_rate: float
    loss: FunnelLoss
    optimizer: Optimizer
    parity: Parity
    patience: int
    precision: StepPrecision
    refit: bool
    shrinkage: Shrinkage
    steps: Steps
    table_folder: str
    table_learning_rate: float
    table_optimizer: Optimizer
    table_storage: StorageKind
    table_weight_decay: float
    warmup_steps: int
    weight_decay: float


class RunConfig(TypedDict, total=False):
    """A run of ncs: data, columns, tasks, network, mask search, training.

    Keys:
        calibration: Calibration of its probabilities.
        columns: The features, in the order of the network's fields.
        data: Source of the rows.
        distributed: Training on several processes, which an MPI launcher starts.
        evaluation: Evaluation of the trained model.
        features: Features that follow from others.
        network: Network and its sizes.
        search: Mask search, for network.kind = "sparse_sharing".
        seed: Seed of the initial weights, the order of rows, and dropout.
        serving: Requests that the model will serve.
        start: The model that training goes on from.
        tables: Lifetimes of the rows of id spaces, by the name of the id space: that of its column, unless columns
            share one. They act where a training goes on from a model.
        tasks: Prediction tasks.
        threads: Worker threads. The result is the same, byte for byte, for the same number of threads. Without it:
            all cores of the machine.
        training: Training: losses, optimizers, stopping.
    """

    calibration: Calibration
    columns: Mapping[str, Column]
    data: Data
    distributed: Distributed
    evaluation: Evaluation
    features: Features
    network: Network
    search: Search
    seed: int
    serving: Serving
    start: Start
    tables: Mapping[str, Lifetime]
    tasks: Mapping[str, Task]
    threads: int
    training: Training

//! Load on a server over persistent connections, each with a thread of its own.

use crate::arguments::Flags;
use crate::bodies::Wire;
use crate::clock::{cpu_seconds, milliseconds, sleep_exactly, summary};
use crate::grpc::Calls;
use crate::http::Http;
use crate::workload::{Form, N_CANDIDATES, Request};
use bytes::Bytes;
use ncs_model::CounterRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);

/// A connection with one request at a time.
pub(crate) trait Connection {
    /// Sends a request and waits for the whole response; an error is a code.
    fn call(&mut self, request: &Bytes) -> Result<(), String>;
}

/// Parameters of a load test.
struct Plan {
    to: SocketAddr,
    wire: Wire,
    requests: Vec<Bytes>,
    connections: usize,
    seconds: Duration,
    /// Send times from the start; `None`: each request is sent when the previous one has been answered.
    due: Option<Vec<Duration>>,
}

/// Measurements of one connection.
#[derive(Default)]
struct Measurements {
    latencies: Vec<Duration>,
    errors: BTreeMap<String, u64>,
    /// Delays of requests behind their send time, for connections that were waiting for it.
    late: Vec<Duration>,
    /// Requests whose send time passed before a connection was free.
    waited: u64,
}

/// Runs the load test and returns its measurements.
pub(crate) fn load(flags: &Flags) -> Result<Value, String> {
    let wire: String = flags.required("wire")?;
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
        (Some(rate), "even") => Some(evenly_spaced(rate, seconds)),
        _ => return Err("--arrivals poisson|even".to_owned()),
    };
    let requests = Request::all(flags.or("candidates", N_CANDIDATES)?);
    Ok(Plan {
        to: flags.required("to")?,
        wire,
        requests: requests.iter().map(|one| wire.bytes(one, form)).collect(),
        connections: flags.or("connections", 1)?,
        seconds,
        due,
    })
}

/// Returns the times of a Poisson process with `rate` events per second.
fn poisson(rate: f64, seconds: Duration) -> Vec<Duration> {
    let rng = CounterRng::new(1, "arrivals");
    let gaps = (0..).map(|i| -(1.0 - rng.uniform(i)).ln() / rate);
    let times = gaps.scan(0.0, |time, gap| {
        *time += gap;
        Some(Duration::from_secs_f64(*time))
    });
    times.take_while(|time| *time < seconds).collect()
}

fn evenly_spaced(rate: f64, seconds: Duration) -> Vec<Duration> {
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
            None => closed_loop(plan, &mut *connection, number, began),
            Some(due) => open_loop(plan, &mut *connection, due, &next, began),
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
        let measured = threads.into_iter().map(|thread| thread.join());
        let measured: Result<Vec<Measurements>, String> = measured
            .map(|measured| measured.expect("it calls"))
            .collect();
        Ok(record(measured?, began.elapsed(), [before, cpu(server)]))
    })
}

/// Returns the CPU seconds of the client and of the server.
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
    // With given send times there are many connections, whose warm-up would be a load of its own.
    let most = plan.due.as_ref().map_or(usize::MAX, |_| 4);
    for turn in 0..most {
        // Errors are counted later, in the measurement.
        let _ = connection.call(request(plan, number + turn));
        if began.elapsed() > WARM_UP {
            return;
        }
    }
}

fn request(plan: &Plan, turn: usize) -> &Bytes {
    &plan.requests[turn % plan.requests.len()]
}

fn closed_loop(
    plan: &Plan,
    connection: &mut dyn Connection,
    number: usize,
    began: Instant,
) -> Measurements {
    let mut measured = Measurements::default();
    // Connections start with different requests.
    let mut turn = number * 7;
    while began.elapsed() < plan.seconds {
        measured.call(connection, request(plan, turn), Instant::now());
        turn += 1;
    }
    measured
}

/// Sends requests at the given times. A free connection takes the next time and waits for it; if none was
/// free in time, the latency still counts from that time.
fn open_loop(
    plan: &Plan,
    connection: &mut dyn Connection,
    due: &[Duration],
    next: &AtomicUsize,
    began: Instant,
) -> Measurements {
    let mut measured = Measurements::default();
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let Some(&time) = due.get(turn) else {
            return measured;
        };
        let scheduled = began + time;
        let left = scheduled.saturating_duration_since(Instant::now());
        if left.is_zero() {
            measured.waited += 1;
        } else {
            std::thread::sleep(left);
            measured.late.push(scheduled.elapsed());
        }
        measured.call(connection, request(plan, turn), scheduled);
    }
}

impl Measurements {
    fn call(&mut self, connection: &mut dyn Connection, request: &Bytes, scheduled: Instant) {
        match connection.call(request) {
            Ok(()) => self.latencies.push(scheduled.elapsed()),
            Err(code) => *self.errors.entry(code).or_default() += 1,
        }
    }
}

fn record(measured: Vec<Measurements>, wall: Duration, [before, after]: [[f64; 2]; 2]) -> Value {
    let mut all = Measurements::default();
    for one in measured {
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
    let per_request = |side: usize| (after[side] - before[side]) * 1e3 / n;
    let mut record = summary(all.latencies, wall);
    record["client_cpu_ms"] = json!(per_request(0));
    record["server_cpu_ms"] = json!(per_request(1));
    record["errors"] = json!(all.errors);
    record["sent_late_p99_ms"] = json!(late.map(milliseconds));
    record["waited_for_a_connection"] = json!(all.waited);
    record
}

//! Networks and their gradients, in one program: each would compile the passes of a network again.

mod attention;
mod fixtures;
mod gradients;
mod half_steps;
mod home;
mod models;
mod oracle;
mod owned_units;
mod shares;
mod stem;
mod task_vectors;

//! Draws a [`RunReport`](crate::RunReport): as text for a terminal, as one HTML file for the rest.

mod bars;
mod chart;
mod figures;
mod html;
mod numbers;
mod text;

pub use html::render_html;
pub use numbers::{fixed, percent, thousands};
pub(crate) use numbers::{p_value, signed};
pub use text::{render_text, text_table};

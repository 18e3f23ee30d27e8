//! Draws a [`RunReport`](crate::RunReport): as text for a terminal, as one HTML file for the rest; and a
//! [`Comparison`](crate::Comparison): as Markdown for documents, as one HTML file.

mod bars;
mod chart;
mod comparison;
mod figures;
mod html;
mod numbers;
mod text;

pub use comparison::{comparison_markdown, render_comparison_html};
pub use html::render_html;
pub use numbers::{duration, fixed, percent, thousands};
pub(crate) use numbers::{p_value, signed};
pub use text::{render_text, text_table};

//! Renders a [`RunReport`](crate::RunReport) as text for a terminal or as one HTML file, and a
//! [`Comparison`](crate::Comparison) as Markdown or as one HTML file.

mod backtest;
mod bars;
mod chart;
mod comparison;
mod diagnoses;
mod drift;
mod figures;
mod html;
mod numbers;
mod text;
mod tuning;

pub use backtest::{backtest_text, render_backtest_html};
pub use comparison::{comparison_markdown, render_comparison_html};
pub use drift::{drift_text, render_drift_html};
pub use figures::units_table;
pub use html::render_html;
pub(crate) use numbers::p_value;
pub use numbers::{duration, fixed, percent, thousands};
pub use text::{columns_text, render_text, text_table};
pub use tuning::render_tuning_html;

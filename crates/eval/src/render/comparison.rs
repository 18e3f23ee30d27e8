//! Renders a [`Comparison`](crate::comparison::Comparison) as Markdown or as one HTML file with charts.

mod charts;
mod forest;
mod markdown;
mod page;
mod runs;
mod tables;
mod words;

pub use markdown::comparison_markdown;
pub use page::render_comparison_html;

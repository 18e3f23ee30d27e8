//! Draws a [`Comparison`](crate::comparison::Comparison): as Markdown for the documents, as one HTML
//! file with pictures.

mod charts;
mod forest;
mod markdown;
mod page;
mod runs;
mod tables;
mod words;

pub use markdown::comparison_markdown;
pub use page::render_comparison_html;

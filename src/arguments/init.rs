//! `ncs init`

use std::path::PathBuf;

use clap::Args;

use super::{FileFormat, delimiter};

/// `ncs init`
#[derive(Args, Clone, Debug)]
pub struct Init {
    /// Files, globs and folders of labelled rows: the training part, or everything.
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<String>,
    /// Column that holds the click label (0 or 1): the task ctr.
    #[arg(long, value_name = "COLUMN", required_unless_present = "tasks")]
    pub click: Option<String>,
    /// Column that holds the conversion label: the task cvr, which counts clicked rows only.
    #[arg(long, value_name = "COLUMN", requires = "click")]
    pub conversion: Option<String>,
    /// Additional task and its label column; all rows with a known label count. Can be repeated.
    #[arg(long = "task", value_name = "NAME=COLUMN", value_parser = task)]
    pub tasks: Vec<(String, String)>,
    /// Files of the validation part. Default: a part of DATA, the latest rows where a time column is found.
    #[arg(long, value_name = "FILE")]
    pub valid: Vec<String>,
    /// Files of the test part.
    #[arg(long, value_name = "FILE")]
    pub test: Vec<String>,
    /// Column that holds the time of each row. Default: found by type, name and order.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Column of the groups for grouped AUC: an impression, a session or a user. Default: guessed by name.
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// The run file to write.
    #[arg(long, value_name = "RUN.toml", default_value = "run.toml")]
    pub out: PathBuf,
    /// Overwrite an existing file.
    #[arg(long)]
    pub force: bool,
    /// Format of the files. Default: by each file's name.
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Field separator of CSV files. Default: a tab for .tsv, a comma otherwise.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Column names of CSV files that have no header line.
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub header: Option<Vec<String>>,
}

fn task(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let parts = parts.filter(|(name, column)| !name.is_empty() && !column.is_empty());
    let (name, column) = parts.ok_or("expected NAME=COLUMN, such as like=is_like")?;
    Ok((name.to_owned(), column.to_owned()))
}

//! The directory that the report and its figures are written to.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::document::{BAR_CHART, Document, FIGURES, IMAGES, LINE_CHART, REPORT};
use super::{bar_chart, line_chart};
use crate::error::CommandError;

/// A directory with a report, its raw figures and its charts.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Creates the directory if it does not exist.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(directory.join(IMAGES))?;
        Ok(Self { directory })
    }

    /// The figures of earlier runs.
    pub(super) fn load(&self) -> Result<Document, CommandError> {
        let path = self.directory.join(FIGURES);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Document::default()),
            outcome => outcome?,
        };
        serde_json::from_str(&text).map_err(|error| {
            let path = path.display();
            CommandError::Usage(format!("{path}: {error}; remove it to begin anew"))
        })
    }

    /// Writes figures, report and charts.
    pub(super) fn save(&self, document: &Document) -> io::Result<()> {
        let figures = serde_json::to_string_pretty(document)? + "\n";
        fs::write(self.directory.join(FIGURES), figures)?;
        fs::write(self.report(), document.to_string())?;
        let images = self.directory.join(IMAGES);
        if let Some(chart) = document.servers.as_ref().and_then(bar_chart::draw) {
            fs::write(images.join(BAR_CHART), chart)?;
        }
        if let Some(chart) = document.sweep.as_ref().and_then(line_chart::draw) {
            fs::write(images.join(LINE_CHART), chart)?;
        }
        Ok(())
    }

    /// The path of the report.
    pub(super) fn report(&self) -> PathBuf {
        self.directory.join(REPORT)
    }
}

/// The directory of the project's docs.
pub(super) fn documentation() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).join("docs")
}

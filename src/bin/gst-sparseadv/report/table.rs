// SPDX-License-Identifier: MPL-2.0

//! A table as Markdown, CSV, and what a page takes.

use serde::Serialize;

#[derive(Serialize)]
pub struct Table {
    /// Of its CSV file.
    pub name: &'static str,
    pub title: String,
    /// What has to be known to read it.
    pub note: String,
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let header: Vec<String> = self.header.iter().map(|h| h.to_string()).collect();
        let rule: Vec<String> = header.iter().map(|_| "---".to_string()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("## {}\n\n{}\n\n{}{}{rows}", self.title, self.note, line(&header), line(&rule))
    }

    pub fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.header)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        Ok(writer.into_inner()?)
    }
}

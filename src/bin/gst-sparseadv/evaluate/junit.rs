// SPDX-License-Identifier: MPL-2.0

//! The verdict as JUnit's XML, which CI servers show: a test case for each gate and row, and one for each skipped clip.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::summary::Summary;
use super::tell::percent;

pub fn xml(summary: &Summary) -> anyhow::Result<String> {
    let mut report = Report::new("gst-sparseadv evaluate");
    let mut figures = TestSuite::new("robustness");
    if summary.gates.is_empty() {
        // Without a gate nothing can fail, but what was measured is seen.
        for row in summary.rows.iter().filter(|row| row.class.is_none()) {
            let mut case = TestCase::new("measured", TestCaseStatus::success());
            case.set_classname(row.cell.path());
            case.set_system_out(format!(
                "clean accuracy {}, robust accuracy {}, fooling rate {}",
                percent(row.clean_accuracy),
                percent(row.robust_accuracy),
                percent(row.fooling_rate)
            ));
            figures.add_test_case(case);
        }
    }
    for gate in &summary.gates {
        let status = match gate.fails {
            false => TestCaseStatus::success(),
            true => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(gate.told());
                status
            }
        };
        let mut case = TestCase::new(format!("not {}", gate.gate), status);
        case.set_classname(format!("{}/{}", gate.dataset, gate.cell));
        case.set_system_out(gate.told());
        figures.add_test_case(case);
    }
    report.add_test_suite(figures);
    let mut clips = TestSuite::new("clips");
    for skipped in &summary.skipped {
        let mut status = TestCaseStatus::skipped();
        status.set_message(skipped.reason.clone());
        let mut case = TestCase::new(skipped.clip.clone(), status);
        case.set_classname(format!("{}/{}", skipped.dataset, skipped.model));
        clips.add_test_case(case);
    }
    if !summary.skipped.is_empty() {
        report.add_test_suite(clips);
    }
    Ok(report.to_string()?)
}

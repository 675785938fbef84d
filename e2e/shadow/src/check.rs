//! Runs scenarios on both systems and looks for differences.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result};

use crate::coverage::Coverage;
use crate::shrink::shrink;
use crate::step::Scenario;
use crate::system::{System, Transcript};

/// The reference and the system that is held against it.
pub(crate) struct Check {
    reference: System,
    subject: System,
    /// Roots made so far; each run of a scenario has one of its own.
    roots: usize,
    pub(crate) coverage: Coverage,
    pub(crate) unanswered: usize,
}

/// A scenario that went differently on the two systems.
pub(crate) struct Difference {
    pub(crate) scenario: Scenario,
    reference: Transcript,
    subject: Transcript,
}

impl Check {
    /// # Errors
    /// When a server does not answer.
    pub(crate) fn new(reference: &[SocketAddr], subject: &[SocketAddr], acl: bool) -> Result<Self> {
        Ok(Self {
            reference: System::connect(reference, acl).context("reference")?,
            subject: System::connect(subject, acl).context("subject")?,
            roots: 0,
            coverage: Coverage::default(),
            unanswered: 0,
        })
    }

    /// Runs the scenarios in their order, each to its end; returns those that differ.
    ///
    /// # Errors
    /// When a server no longer answers.
    pub(crate) fn run(&mut self, scenarios: Vec<Scenario>) -> Result<Vec<Difference>> {
        let roots: Vec<_> = scenarios.iter().map(|_| self.root()).collect();
        let all = |system: &mut System| -> Result<Vec<Transcript>> {
            let jobs = scenarios.iter().zip(&roots);
            jobs.map(|(scenario, root)| system.run(scenario, root))
                .collect()
        };
        let (subject, reference) = thread::scope(|scope| {
            let subject = scope.spawn(|| all(&mut self.subject));
            let reference = all(&mut self.reference);
            let subject = subject.join().expect("the subject's thread does not panic");
            (subject, reference)
        });
        let (reference, subject) = (reference.context("reference")?, subject.context("subject")?);
        let mut differences = Vec::new();
        for ((scenario, reference), subject) in scenarios.into_iter().zip(reference).zip(subject) {
            for (operation, code) in &reference.answers {
                self.coverage.add(operation, *code);
            }
            self.unanswered += reference.unanswered;
            if reference.steps != subject.steps || reference.end != subject.end {
                differences.push(Difference {
                    scenario,
                    reference,
                    subject,
                });
            }
        }
        Ok(differences)
    }

    /// The same difference, or another one, by as few steps as can be found.
    ///
    /// # Errors
    /// Those of [`Check::run`].
    pub(crate) fn shrink(&mut self, difference: Difference) -> Result<Difference> {
        let mut last = None;
        let differs = |candidate: &Scenario| -> Result<bool> {
            let found = self.run(vec![candidate.clone()])?.pop();
            let differs = found.is_some();
            last = found.or_else(|| last.take());
            Ok(differs)
        };
        shrink(&difference.scenario, differs)?;
        Ok(last.unwrap_or(difference))
    }

    fn root(&mut self) -> String {
        self.roots += 1;
        format!("/s{:06}", self.roots)
    }
}

impl Difference {
    /// The steps up to the first difference, then both sides.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("--- {}\n", self.scenario.name);
        let steps = self.scenario.steps.iter();
        let sides = self.reference.steps.iter().zip(&self.subject.steps);
        for (step, (reference, subject)) in steps.zip(sides) {
            text += &format!("{}\n", step.text());
            if reference == subject {
                for line in reference {
                    text += &format!("#   {line}\n");
                }
            } else {
                put_sides(&mut text, reference, subject);
                return text;
            }
        }
        text += "# at the end:\n";
        put_sides(&mut text, &self.reference.end, &self.subject.end);
        text
    }
}

fn put_sides(text: &mut String, reference: &[String], subject: &[String]) {
    for line in reference {
        let mark = if subject.contains(line) { "  " } else { "- " };
        if mark == "- " || reference.len() < LINES_SHOWN {
            *text += &format!("# {mark}{line}\n");
        }
    }
    for line in subject.iter().filter(|line| !reference.contains(line)) {
        *text += &format!("# + {line}\n");
    }
    let same = reference.len() == subject.len() && subject.iter().all(|it| reference.contains(it));
    if same {
        *text += &format!("# + the same lines in this order: {subject:#?}\n");
    }
}

/// Of more lines only those that differ are shown.
const LINES_SHOWN: usize = 12;

//! Questions and answers, one a line. Questions go to standard error, so that the answer of the tool stands alone on standard
//! output; what is hidden is not echoed.

use std::io::{self, BufRead, IsTerminal as _, Write};

use crate::failure::{Doing as _, Failure};

/// Who asks.
pub(super) struct Dialogue<R, W> {
    answers: R,
    questions: W,
    /// Whether a person types: only then there is an echo to be kept from.
    is_typed: bool,
}

/// With the person at the terminal, or with what is piped in.
pub(super) fn at_the_terminal() -> Dialogue<io::StdinLock<'static>, io::StderrLock<'static>> {
    Dialogue {
        is_typed: io::stdin().is_terminal(),
        answers: io::stdin().lock(),
        questions: io::stderr().lock(),
    }
}

impl<R: BufRead, W: Write> Dialogue<R, W> {
    /// A dialogue whose answers are there already.
    #[cfg(test)]
    pub(super) fn of(answers: R, questions: W) -> Self {
        Self {
            answers,
            questions,
            is_typed: false,
        }
    }

    /// Says something.
    pub(super) fn say(&mut self, words: &str) -> Result<(), Failure> {
        let said = writeln!(self.questions, "{words}").and_then(|()| self.questions.flush());
        said.or_fail(|| "The question can't be asked".to_owned())
    }

    /// Asks, and takes a line.
    pub(super) fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.prompt(question)?;
        self.line()
    }

    /// Asks for what nobody should see.
    pub(super) fn ask_hidden(&mut self, question: &str) -> Result<String, Failure> {
        self.prompt(question)?;
        if self.is_typed {
            let typed = rpassword::read_password().or_fail(|| "The answer can't be read".to_owned())?;
            return Ok(typed.trim().to_owned());
        }
        self.line()
    }

    /// Asks whether to; no is what is taken for anything but a yes.
    pub(super) fn agrees(&mut self, question: &str) -> Result<bool, Failure> {
        let answer = self.ask(&format!("{question} [y/N] "))?;
        Ok(["y", "yes"].contains(&answer.to_lowercase().as_str()))
    }

    fn prompt(&mut self, question: &str) -> Result<(), Failure> {
        let asked = write!(self.questions, "{question}").and_then(|()| self.questions.flush());
        asked.or_fail(|| "The question can't be asked".to_owned())
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if read.or_fail(|| "The answer can't be read".to_owned())? == 0 {
            return Err(Failure::misuse("There is nobody who answers").advise(
                "run it at a terminal; or in a script give all that is needed, with --yes: see the examples of --help",
            ));
        }
        Ok(line.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes_and_the_end_of_answers_is_said() {
        let mut dialogue = Dialogue::of(&b"y\nYES\n\nsure\n"[..], Vec::new());
        let agreed = [(); 4].map(|()| dialogue.agrees("So?").unwrap());
        assert_eq!(agreed, [true, true, false, false]);
        assert!(dialogue.agrees("So?").unwrap_err().to_string().contains("--yes"));
    }
}

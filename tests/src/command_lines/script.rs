//! The script as a file: its lines read, and written again with other answers.

/// What a command printed, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Lines, normalised.
    pub lines: Vec<String>,
    /// Exit code.
    pub code: i64,
}

/// One line of a script, or a command with the lines that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A command as it is written after `$ `, and its recorded answer.
    Command(String, Answer),
    /// A line of input for the next command.
    Input(String),
    /// What stands after `@`.
    Step(String),
    /// A remark or an empty line, kept as it is.
    Remark(String),
}

/// The lines of a script, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Line>);

impl Script {
    /// Reads a script; panics at a line of no known form.
    pub fn parse(text: &str) -> Script {
        let mut lines: Vec<Line> = Vec::new();
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                lines.push(Line::Command(command.to_owned(), Answer::default()));
            } else if let Some(printed) = line.strip_prefix("  ") {
                answer_of(&mut lines, line).lines.push(printed.to_owned());
            } else if let Some(code) = line.strip_prefix("= ") {
                answer_of(&mut lines, line).code = code.parse().expect("an exit code is a number");
            } else if let Some(input) = line.strip_prefix("< ") {
                lines.push(Line::Input(input.to_owned()));
            } else if let Some(step) = line.strip_prefix('@') {
                lines.push(Line::Step(step.to_owned()));
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "a line of no known form: {line}");
                lines.push(Line::Remark(line.to_owned()));
            }
        }
        Script(lines)
    }

    /// The script with the answers that are in it, as [`Script::parse`] reads it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.0 {
            match line {
                Line::Command(command, answer) => {
                    text.push_str(&format!("$ {command}\n"));
                    answer.lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
                    if answer.code != 0 {
                        text.push_str(&format!("= {}\n", answer.code));
                    }
                }
                Line::Input(input) => text.push_str(&format!("< {input}\n")),
                Line::Step(step) => text.push_str(&format!("@{step}\n")),
                Line::Remark(remark) => text.push_str(&format!("{remark}\n")),
            }
        }
        text
    }
}

fn answer_of<'a>(lines: &'a mut [Line], line: &str) -> &'a mut Answer {
    match lines.last_mut() {
        Some(Line::Command(_, answer)) => answer,
        _ => panic!("no command before its answer: {line}"),
    }
}

/// A command's words; a quoted one may hold spaces.
pub(super) fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), String::new(), false, false);
    for c in command.chars() {
        match c {
            '\'' => (quoted, open) = (!quoted, true),
            ' ' if !quoted => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            c => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_written_as_it_was_read() {
        let text = "# remark\n\n@file a: b\n< input\n$ ~topics --list\n  one\n   two\n= 1\n$ topics\n";
        let script = Script::parse(text);
        assert_eq!(script.to_text(), text);
        let answer = Answer { lines: vec!["one".to_owned(), " two".to_owned()], code: 1 };
        assert_eq!(script.0[4], Line::Command("~topics --list".to_owned(), answer));
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words("a 'b c'  d='e f' ''"), ["a", "b c", "d=e f", ""]);
    }
}

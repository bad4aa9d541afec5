//! Where lines go: results to standard output, the live line and errors for people to standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use super::{args::Format, human, json as machine, live::Live};
use crate::{
    attest::Attested,
    error::Error,
    exit::Exit,
    follow::Event,
    reply::{Status, phase_name},
};

/// Writes to a closed pipe are noted once; the command then ends with them.
pub struct Output {
    format: Format,
    out: Box<dyn Write + Send>,
    errors: Box<dyn Write + Send>,
    live: Option<Live>,
    /// Standard error is a terminal: a live line makes sense.
    terminal: bool,
    failed: Option<io::Error>,
    /// Repeated every 30 s by a provider; people are told once.
    last_status: Option<Status>,
    last_attested: Option<Attested>,
}

impl Output {
    pub fn of_process(format: Format) -> Output {
        let terminal = format == Format::Human && io::stderr().is_terminal();
        Output {
            terminal,
            ..Output::to(format, Box::new(io::stdout()), Box::new(io::stderr()))
        }
    }

    pub fn to(format: Format, out: Box<dyn Write + Send>, errors: Box<dyn Write + Send>) -> Output {
        Output {
            format,
            out,
            errors,
            live: None,
            terminal: false,
            failed: None,
            last_status: None,
            last_attested: None,
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// From here on something is waited for.
    pub fn start_live(&mut self) {
        if self.terminal && self.live.is_none() {
            self.live = Some(Live::start());
        }
    }

    pub fn stop_live(&mut self) {
        self.live = None;
    }

    /// The same fact for people and for scripts.
    pub fn tell(&mut self, lines: &[String], value: &Value) {
        match self.format {
            Format::Human => self.lines(lines),
            Format::Json => self.lines(&[value.to_string()]),
        }
    }

    /// A table for people, one object a row for scripts.
    pub fn tell_all(&mut self, lines: &[String], values: &[Value]) {
        match self.format {
            Format::Human => self.lines(lines),
            Format::Json => self.lines(&values.iter().map(Value::to_string).collect::<Vec<_>>()),
        }
    }

    /// Text for another program, in neither form.
    pub fn raw(&mut self, text: &str) {
        self.lines(&[text.trim_end().to_owned()]);
    }

    pub fn event(&mut self, event: &Event) {
        if let Some(live) = &self.live {
            live.say(&waiting_for(event));
        }
        match (self.format, event) {
            (Format::Json, Event::Lines(lines)) => self.lines(&machine::log_lines(lines)),
            (Format::Json, event) => self.lines(&[machine::event(event).to_string()]),
            (Format::Human, Event::Status(status)) => self.human_status(status),
            // Much of it, and nothing but it, so that it can be piped on.
            (Format::Human, Event::Lines(lines)) => self.lines(&human::log_lines(lines)),
            (Format::Human, Event::Attested(attested)) => {
                if self.last_attested.as_ref() != Some(attested) {
                    self.lines(&human::event(event));
                    self.last_attested = Some(attested.clone());
                }
            }
            (Format::Human, event) => self.lines(&human::event(event)),
        }
    }

    fn human_status(&mut self, status: &Status) {
        let mut lines = vec![human::status(status)];
        let last = self.last_status.as_ref();
        if last.map(human::status) == Some(human::status(status)) {
            lines.clear();
        }
        if last.is_none_or(|last| last.admitted != status.admitted) {
            lines.extend(human::admitted(status));
        }
        if last.is_none_or(|last| last.addresses != status.addresses) {
            lines.extend(human::addresses(status));
        }
        self.lines(&lines);
        self.last_status = Some(status.clone());
    }

    /// The last line of a command that worked.
    pub fn result(&mut self, line: String, mut fields: Value, exit: Exit) {
        self.stop_live();
        fields["event"] = "result".into();
        fields["exitCode"] = exit.status().into();
        self.tell(&[line], &fields);
    }

    /// The last line of one that did not.
    pub fn error(&mut self, error: &Error) {
        self.stop_live();
        if self.format == Format::Json {
            self.lines(&[machine::error(error).to_string()]);
            return;
        }
        let mut text = format!("error: {error} ({})\n", error.code());
        if let Some(refusal) = error.refusal().filter(|r| !r.resource.is_empty()) {
            text.push_str(&format!("  resource: {}\n", refusal.resource));
        }
        if !error.remedy().is_empty() {
            text.push_str(&format!("  what to do: {}\n", error.remedy()));
        }
        // Nowhere is left to say that this failed; the exit status still tells.
        let _ = self.errors.write_all(text.as_bytes());
    }

    /// A note that is no result.
    pub fn note(&mut self, text: &str) {
        match self.format {
            Format::Human => self.lines(&[human::line("note", text)]),
            Format::Json => self.lines(&[json!({"event": "note", "message": text}).to_string()]),
        }
    }

    /// Did every line get out?
    pub fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), |e| Err(Error::Output(e)))
    }

    fn lines(&mut self, lines: &[String]) {
        if lines.is_empty() || self.failed.is_some() {
            return;
        }
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let out = &mut self.out;
        let mut print = || out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let printed = match &self.live {
            Some(live) => live.above(print),
            None => print(),
        };
        self.failed = printed.err();
    }
}

fn waiting_for(event: &Event) -> String {
    match event {
        Event::Connecting { attempt: 1 } => "connecting".into(),
        Event::Connecting { attempt } => format!("connecting, attempt {attempt}"),
        Event::Connected { .. } => "asking for evidence".into(),
        Event::Attested(_) => "sending".into(),
        Event::Sent { .. } => "waiting for the provider".into(),
        Event::Lines(_) => "waiting for lines".into(),
        Event::Status(status) => format!("{}: {}", phase_name(status.phase), status.message),
        Event::Retrying { .. } => "waiting to try again".into(),
    }
}

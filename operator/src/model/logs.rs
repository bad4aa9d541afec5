//! What containers wrote, as a session may learn it.

use std::fmt;

use super::status::PodStatus;

/// Which lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsWanted {
    /// `None`: of the pod's only container.
    pub container: Option<String>,
    /// Goes on until the pod has ended.
    pub follow: bool,
    /// The last lines of each replica; `None`: all.
    pub tail: Option<u32>,
    /// Written at or after, Unix seconds.
    pub since: Option<u64>,
    /// Of the run before the last restart; never together with `follow`.
    pub previous: bool,
}

/// One item of a stream of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    Lines(LogLines),
    /// How the pod stands, while it is followed.
    Status(PodStatus),
    /// The last item: there is nothing more to tell. A stream without it ended because the object is gone.
    End(PodStatus),
}

/// Lines of one container of one replica, a bounded number of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLines {
    /// Name of the replica's Pod.
    pub replica: String,
    pub container: String,
    pub lines: Vec<LogLine>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct LogLine {
    /// By the node's clock, nanoseconds since 1970; 0: not known.
    pub at: u64,
    /// Without the newline.
    pub text: Vec<u8>,
    /// It was longer than `limits::LOG_LINE_MAX`.
    pub cut: bool,
}

/// Programs write secrets too.
impl fmt::Debug for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogLine({}, {} bytes)", self.at, self.text.len())
    }
}

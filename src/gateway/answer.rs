//! Everything the front and the gateway answer by themselves, with its SQLSTATE: one table.

/// A kind of answer. Its severity, SQLSTATE and hint stand in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The segment was lost while a statement ran, and it is certain that nothing was committed.
    NothingCommitted,
    /// The segment was lost with a commit or an autocommit write in flight.
    OutcomeUnknown,
    /// The transaction was open when its segment was lost.
    TransactionFailed,
    /// The content has no primary, and the limit of waiting is over.
    NoPrimary,
    /// The client cancelled a statement that waited for a primary.
    Canceled,
    /// A prepared statement that does not exist, met while no segment could be asked.
    UnknownStatement,
    /// A portal that does not exist, met while no segment could be asked.
    UnknownPortal,
    /// The body of a message can't be read; the connection goes on.
    BadMessage,
    /// A message of the protocol that is not offered.
    NotSupported,
    /// The startup names a database that does not exist.
    UnknownDatabase,
    /// The stream can't be read as frames; the connection ends.
    ProtocolViolation,
    /// A protocol version that is not spoken.
    ProtocolVersion,
    /// There are as many sessions as allowed.
    TooManySessions,
    /// The coordinator stops.
    ShuttingDown,
    /// The password was wrong, or the user is unknown.
    BadPassword,
    /// The catalog's session ended before it began.
    CatalogGone,
    /// The cluster was started for its owner only.
    Restricted,
}

const RETRY: &str = "Run the transaction again.";
const CHECK: &str = "Look whether it took effect before it is run again.";
const OWNER: &str = "The owner connects by the Unix socket; gpstop -r ends it.";
const LEAVE: &str = "ROLLBACK, then run the transaction again.";

impl Answer {
    /// The table: severity, SQLSTATE, hint.
    const fn row(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Answer::NothingCommitted => ("ERROR", "40001", Some(RETRY)),
            Answer::OutcomeUnknown => ("ERROR", "08007", Some(CHECK)),
            Answer::TransactionFailed => ("ERROR", "25P02", Some(LEAVE)),
            Answer::NoPrimary => ("ERROR", "57P03", None),
            Answer::Canceled => ("ERROR", "57014", None),
            Answer::UnknownStatement => ("ERROR", "26000", None),
            Answer::UnknownPortal => ("ERROR", "34000", None),
            Answer::BadMessage => ("ERROR", "08P01", None),
            Answer::NotSupported => ("ERROR", "0A000", None),
            Answer::UnknownDatabase => ("FATAL", "3D000", None),
            Answer::ProtocolViolation => ("FATAL", "08P01", None),
            Answer::ProtocolVersion => ("FATAL", "0A000", None),
            Answer::TooManySessions => ("FATAL", "53300", None),
            Answer::ShuttingDown => ("FATAL", "57P01", None),
            Answer::BadPassword => ("FATAL", "28P01", None),
            Answer::CatalogGone => ("FATAL", "57P03", None),
            Answer::Restricted => ("FATAL", "57P03", Some(OWNER)),
        }
    }

    /// The five characters.
    pub fn sqlstate(self) -> &'static str {
        self.row().1
    }

    /// `ERROR`, or `FATAL` when the connection ends with it.
    pub fn severity(self) -> &'static str {
        self.row().0
    }

    /// What the client can do.
    pub fn hint(self) -> Option<&'static str> {
        self.row().2
    }
}

/// An answer and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which answer it is.
    pub answer: Answer,
    /// What the person reads.
    pub message: String,
}

impl Reply {
    /// An answer in these words.
    pub fn new(answer: Answer, message: impl Into<String>) -> Reply {
        Reply { answer, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_those_of_the_contract() {
        let table = [
            (Answer::NothingCommitted, "ERROR", "40001"),
            (Answer::OutcomeUnknown, "ERROR", "08007"),
            (Answer::TransactionFailed, "ERROR", "25P02"),
            (Answer::NoPrimary, "ERROR", "57P03"),
            (Answer::Canceled, "ERROR", "57014"),
            (Answer::UnknownStatement, "ERROR", "26000"),
            (Answer::UnknownPortal, "ERROR", "34000"),
            (Answer::BadMessage, "ERROR", "08P01"),
            (Answer::NotSupported, "ERROR", "0A000"),
            (Answer::UnknownDatabase, "FATAL", "3D000"),
            (Answer::ProtocolViolation, "FATAL", "08P01"),
            (Answer::ProtocolVersion, "FATAL", "0A000"),
            (Answer::TooManySessions, "FATAL", "53300"),
            (Answer::ShuttingDown, "FATAL", "57P01"),
            (Answer::BadPassword, "FATAL", "28P01"),
            (Answer::CatalogGone, "FATAL", "57P03"),
            (Answer::Restricted, "FATAL", "57P03"),
        ];
        for (answer, severity, sqlstate) in table {
            assert_eq!((answer.severity(), answer.sqlstate()), (severity, sqlstate));
        }
    }
}

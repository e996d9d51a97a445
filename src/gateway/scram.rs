//! SCRAM-SHA-256 for clients that come over TCP.
//!
//! The password file has the format of PostgreSQL's own (`host:port:database:user:password`), so that
//! the same file serves the client as `PGPASSFILE`. Host and port are the client's business; here
//! database and user select the line.

use super::answer::{Answer, Reply};
use super::frame::{FrameStream, take_cstr};
use super::message;
use super::session::{ClientStream, Ending};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

const MECHANISM: &str = "SCRAM-SHA-256";
const SALT_BYTES: usize = 16;
const MAX_FILE: u64 = 1024 * 1024;

/// Why a password file can't be used.
#[derive(Debug, Error)]
pub enum PasswordFileError {
    /// It can't be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Others can read it.
    #[error("{path} has mode {mode:o}; a password file must be 0600, its owner's alone")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is not in the format.
    #[error("{path}, line {line}: not host:port:database:user:password")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// No line gives a password.
    #[error("{path} has no password in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random bytes.
    #[error("no random bytes from the system")]
    Random,
}

/// The passwords of a front, salted; the passwords themselves are not kept.
pub struct PasswordFile {
    lines: Vec<Line>,
    /// For the salt of users that do not exist, which must look like any other.
    unknown: hmac::Key,
}

struct Line {
    database: Pattern,
    user: Pattern,
    salt: Vec<u8>,
    salted_password: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Exactly(String),
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exactly(exact) => exact == text,
        }
    }
}

impl std::fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordFile").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

impl PasswordFile {
    /// Reads a password file, and refuses one that others can read.
    pub fn load(path: &Path) -> Result<PasswordFile, PasswordFileError> {
        let io = |error| PasswordFileError::Io { path: path.to_owned(), error };
        let file = std::fs::File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(PasswordFileError::Mode { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
        PasswordFile::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<PasswordFile, PasswordFileError> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed =
                parse_line(line).ok_or_else(|| PasswordFileError::Line { path: path.to_owned(), line: number + 1 })?;
            lines.push(salted(parsed)?);
        }
        if lines.is_empty() {
            return Err(PasswordFileError::Empty { path: path.to_owned() });
        }
        let unknown =
            hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| PasswordFileError::Random)?;
        Ok(PasswordFile { lines, unknown })
    }

    /// The secret of a user. An unknown one gets a secret that no password fits and a salt that is
    /// always the same, so that the exchange does not tell who exists.
    fn secret(&self, database: &str, user: &str) -> ScramSecret {
        let line = self.lines.iter().find(|l| l.database.matches(database) && l.user.matches(user));
        match line {
            Some(line) => {
                ScramSecret::SaltedPassword { salt: line.salt.clone(), salted_password: line.salted_password.clone() }
            }
            None => {
                let salt = hmac::sign(&self.unknown, user.as_bytes()).as_ref()[..SALT_BYTES].to_vec();
                let password = hmac::sign(&self.unknown, &salt);
                ScramSecret::SaltedPassword {
                    salt,
                    salted_password: digest::digest(&digest::SHA256, password.as_ref()).as_ref().to_vec(),
                }
            }
        }
    }
}

type Fields = (Pattern, Pattern, String);

fn parse_line(line: &str) -> Option<Fields> {
    let mut fields = vec![String::new()];
    let mut literal = vec![false];
    let mut escaped = false;
    for c in line.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                fields.last_mut()?.push(c);
                *literal.last_mut()? = true;
            }
            '\\' => escaped = true,
            // The password is the rest of the line; a colon in it need not be escaped.
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                literal.push(false);
            }
            _ => fields.last_mut()?.push(c),
        }
    }
    let [_, _, database, user, password]: [String; 5] = fields.try_into().ok()?;
    let pattern = |text: String, literal: bool| match text.as_str() {
        "*" if !literal => Pattern::Any,
        _ => Pattern::Exactly(text),
    };
    (!password.is_empty()).then(|| (pattern(database, literal[2]), pattern(user, literal[3]), password))
}

fn salted((database, user, password): Fields) -> Result<Line, PasswordFileError> {
    let mut salt = vec![0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| PasswordFileError::Random)?;
    let salted_password = gen_salted_password(&password, &salt, SCRAM_ITERATIONS);
    Ok(Line { database, user, salt, salted_password })
}

/// Asks the client for its password's proof. What follows is the session's AuthenticationOk.
pub(super) async fn authenticate(
    client: &mut FrameStream<ClientStream>,
    database: &str,
    user: &str,
    passwords: &PasswordFile,
) -> Result<(), Ending> {
    let refused = || {
        let text = format!("password authentication failed for user \"{user}\"");
        Ending::Fatal(Reply::new(Answer::BadPassword, text))
    };
    request(client, 10, &[MECHANISM.as_bytes(), b"\0\0"].concat()).await?;
    let mut first = password_message(client).await?;
    let mechanism = take_cstr(&mut first).ok_or_else(refused)?;
    if mechanism != MECHANISM || first.len() < 4 {
        return Err(refused());
    }
    first.advance(4);
    let (server_first, waiting) = ScramServerAuth::new()
        .on_client_first_message_with_secret(&first, passwords.secret(database, user))
        .map_err(|_| refused())?;
    request(client, 11, server_first.as_bytes()).await?;
    let last = password_message(client).await?;
    let server_final = waiting.on_client_final_message(&last).map_err(|_| refused())?;
    request(client, 12, server_final.as_bytes()).await
}

async fn request(client: &mut FrameStream<ClientStream>, kind: u32, data: &[u8]) -> Result<(), Ending> {
    let mut out = BytesMut::new();
    message::put(&mut out, b'R', |b| {
        b.put_u32(kind);
        b.put_slice(data);
    });
    Ok(client.write(&out).await?)
}

async fn password_message(client: &mut FrameStream<ClientStream>) -> Result<Bytes, Ending> {
    match client.next().await? {
        None => Err(Ending::Gone),
        Some(frame) if frame.tag() == b'p' => Ok(frame.body()),
        Some(frame) => Err(Ending::Fatal(Reply::new(
            Answer::ProtocolViolation,
            format!("expected a password, got message type {}", frame.tag()),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(text: &str) -> Pattern {
        Pattern::Exactly(text.to_owned())
    }

    #[test]
    fn lines_are_read_as_libpq_reads_them() {
        let table = [
            ("*:*:*:ann:secret", Some((Pattern::Any, exactly("ann"), "secret"))),
            (r"h:5432:content0:a\:b:s\:e\\c:r", Some((exactly("content0"), exactly("a:b"), r"s:e\c:r"))),
            (r"*:*:\*:*:x", Some((exactly("*"), Pattern::Any, "x"))),
            ("*:*:*:ann", None),
            ("*:*:*:ann:", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(d, u, p)| (d, u, p.to_owned()));
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        std::fs::write(&path, "# ours\n*:*:*:ann:secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = PasswordFile::load(&path);
        assert!(matches!(refused, Err(PasswordFileError::Mode { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(PasswordFile::load(&path).unwrap().lines.len(), 1);
    }

    #[test]
    fn an_unknown_user_has_a_salt_of_its_own_that_stays() {
        let file = PasswordFile::parse(Path::new("p"), "*:*:*:ann:secret").unwrap();
        let salt = |user| match file.secret("postgres", user) {
            ScramSecret::SaltedPassword { salt, .. } => salt,
            ScramSecret::Verifier { salt, .. } => salt,
        };
        assert_eq!(salt("bob"), salt("bob"));
        assert_ne!(salt("bob"), salt("eve"));
    }
}

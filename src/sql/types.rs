//! Values between SQLite and the protocol.

use super::error::{SqlError, state};
use bytes::{BufMut, Bytes, BytesMut};
use rusqlite::types::{Value, ValueRef};

/// The types a column is described as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PgType {
    Bool,
    Int8,
    Float8,
    Text,
    Bytea,
}

/// PostgreSQL's numbers for the types a client may give a parameter.
mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const NAME: u32 = 19;
    pub const NUMERIC: u32 = 1700;
}

impl PgType {
    /// PostgreSQL's number for it.
    pub fn oid(self) -> u32 {
        match self {
            PgType::Bool => oid::BOOL,
            PgType::Int8 => oid::INT8,
            PgType::Float8 => oid::FLOAT8,
            PgType::Text => oid::TEXT,
            PgType::Bytea => oid::BYTEA,
        }
    }

    /// The bytes of a value, -1 when they vary.
    pub fn size(self) -> i16 {
        match self {
            PgType::Bool => 1,
            PgType::Int8 | PgType::Float8 => 8,
            PgType::Text | PgType::Bytea => -1,
        }
    }

    /// The type of a column declared so, by SQLite's rules of affinity.
    pub fn of_declaration(declared: &str) -> PgType {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|w| declared.contains(w));
        if has(&["BOOL"]) {
            PgType::Bool
        } else if has(&["INT", "SERIAL"]) && !has(&["POINT", "INTERVAL"]) {
            PgType::Int8
        } else if has(&["BLOB", "BYTEA"]) {
            PgType::Bytea
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            PgType::Float8
        } else {
            PgType::Text
        }
    }

    /// The type of a value; NULL has none.
    pub fn of_value(value: ValueRef<'_>) -> Option<PgType> {
        match value {
            ValueRef::Null => None,
            ValueRef::Integer(_) => Some(PgType::Int8),
            ValueRef::Real(_) => Some(PgType::Float8),
            ValueRef::Text(_) => Some(PgType::Text),
            ValueRef::Blob(_) => Some(PgType::Bytea),
        }
    }

    /// The type a hint such as `$1::int8` names.
    pub fn of_hint(hint: &str) -> Option<u32> {
        Some(match hint.to_ascii_lowercase().as_str() {
            "int2" | "smallint" => oid::INT2,
            "int4" | "int" | "integer" => oid::INT4,
            "int8" | "bigint" => oid::INT8,
            "float4" | "real" => oid::FLOAT4,
            "float8" => oid::FLOAT8,
            "bool" | "boolean" => oid::BOOL,
            "text" | "varchar" => oid::TEXT,
            "bytea" => oid::BYTEA,
            _ => return None,
        })
    }
}

/// Appends a value as a data row carries it: its length, and its bytes.
pub fn encode(out: &mut BytesMut, value: ValueRef<'_>, kind: PgType, binary: bool) -> Result<(), SqlError> {
    if value == ValueRef::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    if binary {
        encode_binary(out, value, kind)?;
    } else {
        encode_text(out, value, kind);
    }
    let length = i32::try_from(out.len() - at - 4)
        .map_err(|_| SqlError::new(state::TOO_LARGE, "a value is too large for the protocol"))?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_float(out: &mut BytesMut, n: f64) {
    if n.is_infinite() {
        out.put_slice(if n > 0.0 { b"Infinity" } else { b"-Infinity" });
        return;
    }
    let exponent = n.abs().log10();
    // PostgreSQL turns to the scientific notation at the same places.
    let text = if n != 0.0 && !(-4.0..15.0).contains(&exponent) {
        let text = format!("{n:e}");
        match text.split_once('e') {
            Some((m, e)) if !e.starts_with('-') => format!("{m}e+{e:0>2}"),
            Some((m, e)) => format!("{m}e-{:0>2}", &e[1..]),
            None => text,
        }
    } else {
        n.to_string()
    };
    out.put_slice(text.as_bytes());
}

fn put_text(out: &mut BytesMut, text: &[u8]) {
    // A client that was promised UTF-8 must get it.
    match std::str::from_utf8(text) {
        Ok(_) => out.put_slice(text),
        Err(_) => out.put_slice(String::from_utf8_lossy(text).as_bytes()),
    }
}

fn encode_text(out: &mut BytesMut, value: ValueRef<'_>, kind: PgType) {
    match (value, kind) {
        (ValueRef::Null, _) => {}
        (ValueRef::Integer(n @ (0 | 1)), PgType::Bool) => {
            out.put_u8(if n == 1 { b't' } else { b'f' });
        }
        (ValueRef::Integer(n), _) => out.put_slice(n.to_string().as_bytes()),
        (ValueRef::Real(n), _) => put_float(out, n),
        (ValueRef::Text(text), _) => put_text(out, text),
        (ValueRef::Blob(bytes), _) => {
            out.put_slice(b"\\x");
            for byte in bytes {
                out.put_slice(&hex(*byte));
            }
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn encode_binary(out: &mut BytesMut, value: ValueRef<'_>, kind: PgType) -> Result<(), SqlError> {
    match (kind, value) {
        (PgType::Bool, ValueRef::Integer(n)) => out.put_u8(u8::from(n != 0)),
        (PgType::Int8, ValueRef::Integer(n)) => out.put_i64(n),
        (PgType::Float8, ValueRef::Real(n)) => out.put_f64(n),
        // An integer that a float holds exactly is that float.
        (PgType::Float8, ValueRef::Integer(n)) if n.unsigned_abs() < 1 << 53 => {
            out.put_f64(n as f64);
        }
        (PgType::Bytea, ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => out.put_slice(bytes),
        (PgType::Text, _) => encode_text(out, value, PgType::Text),
        (kind, value) => {
            return Err(SqlError::new(
                state::TYPE_MISMATCH,
                format!("a column described as {kind:?} holds a value of type {}", value.data_type()),
            )
            .hint("Ask for the text format, or CAST the column."));
        }
    }
    Ok(())
}

/// A parameter's value from its bytes. `type_oid` is 0 when neither side named a type.
pub fn decode(bytes: Option<&Bytes>, type_oid: u32, binary: bool) -> Result<Value, SqlError> {
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) if binary => decode_binary(bytes, type_oid),
        Some(bytes) => decode_text(bytes, type_oid),
    }
}

fn bad(type_oid: u32, shown: &str) -> SqlError {
    SqlError::new(state::BAD_PARAMETER, format!("invalid input for a parameter of type {type_oid}: \"{shown}\""))
}

fn decode_text(bytes: &[u8], type_oid: u32) -> Result<Value, SqlError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    let wrong = || bad(type_oid, text);
    Ok(match type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::OID => Value::Integer(text.trim().parse().map_err(|_| wrong())?),
        oid::FLOAT4 | oid::FLOAT8 => Value::Real(text.trim().parse().map_err(|_| wrong())?),
        oid::BOOL => Value::Integer(parse_bool(text).ok_or_else(wrong)?.into()),
        oid::BYTEA => Value::Blob(parse_bytea(text).ok_or_else(wrong)?),
        _ => Value::Text(text.to_owned()),
    })
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "1" | "on" | "yes" | "y" => Some(true),
        "f" | "false" | "0" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}

fn parse_bytea(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return Some(text.as_bytes().to_vec());
    };
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()).collect()
}

fn decode_binary(bytes: &[u8], type_oid: u32) -> Result<Value, SqlError> {
    let wrong = || bad(type_oid, &format!("{} bytes", bytes.len()));
    Ok(match type_oid {
        oid::BOOL => Value::Integer(i64::from(*bytes.first().ok_or_else(wrong)? != 0)),
        oid::INT2 => Value::Integer(i16::from_be_bytes(exactly(bytes).ok_or_else(wrong)?).into()),
        oid::INT4 => Value::Integer(i32::from_be_bytes(exactly(bytes).ok_or_else(wrong)?).into()),
        oid::OID => Value::Integer(u32::from_be_bytes(exactly(bytes).ok_or_else(wrong)?).into()),
        oid::INT8 => Value::Integer(i64::from_be_bytes(exactly(bytes).ok_or_else(wrong)?)),
        oid::FLOAT4 => Value::Real(f32::from_be_bytes(exactly(bytes).ok_or_else(wrong)?).into()),
        oid::FLOAT8 => Value::Real(f64::from_be_bytes(exactly(bytes).ok_or_else(wrong)?)),
        oid::BYTEA => Value::Blob(bytes.to_vec()),
        0 | oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN | oid::JSON => {
            decode_text(bytes, oid::TEXT)?
        }
        oid::NUMERIC => {
            return Err(SqlError::new(
                state::NOT_SUPPORTED,
                "numeric parameters are not supported in the binary format",
            )
            .hint("Use float8 or text."));
        }
        other => {
            return Err(SqlError::new(
                state::NOT_SUPPORTED,
                format!("parameters of type {other} are not supported in the binary format"),
            )
            .hint("Send them as text."));
        }
    })
}

fn exactly<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: ValueRef<'_>, kind: PgType) -> String {
        let mut out = BytesMut::new();
        encode(&mut out, value, kind, false).unwrap();
        String::from_utf8(out[4..].to_vec()).unwrap()
    }

    #[test]
    fn text_looks_as_postgresql_writes_it() {
        assert_eq!(text(ValueRef::Integer(1), PgType::Bool), "t");
        assert_eq!(text(ValueRef::Real(1.5), PgType::Float8), "1.5");
        assert_eq!(text(ValueRef::Real(1.0), PgType::Float8), "1");
        assert_eq!(text(ValueRef::Real(1e20), PgType::Float8), "1e+20");
        assert_eq!(text(ValueRef::Real(1.5e-7), PgType::Float8), "1.5e-07");
        assert_eq!(text(ValueRef::Real(0.0), PgType::Float8), "0");
        assert_eq!(text(ValueRef::Blob(&[0xde, 0x0a]), PgType::Bytea), "\\xde0a");
    }

    #[test]
    fn a_declared_type_follows_sqlite_s_affinity() {
        for (declared, kind) in [
            ("bigint", PgType::Int8),
            ("INTEGER", PgType::Int8),
            ("bigserial", PgType::Int8),
            ("double precision", PgType::Float8),
            ("boolean", PgType::Bool),
            ("bytea", PgType::Bytea),
            ("varchar(10)", PgType::Text),
            ("numeric(10,2)", PgType::Text),
            ("timestamp", PgType::Text),
            ("point", PgType::Text),
        ] {
            assert_eq!(PgType::of_declaration(declared), kind, "{declared}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_binary_type_is_an_error() {
        let mut out = BytesMut::new();
        let error = encode(&mut out, ValueRef::Text(b"x"), PgType::Int8, true).unwrap_err();
        assert_eq!(error.code, "42804");
    }

    #[test]
    fn parameters_decode_in_both_formats_and_garbage_is_refused() {
        let b = |s: &'static [u8]| Some(Bytes::from_static(s));
        let ok = |b: Option<Bytes>, o, f| decode(b.as_ref(), o, f).unwrap();
        assert_eq!(ok(b(b"7"), oid::INT4, false), Value::Integer(7));
        assert_eq!(ok(b(&[0, 0, 0, 7]), oid::INT4, true), Value::Integer(7));
        assert_eq!(ok(b(b"7"), 0, false), Value::Text("7".into()));
        assert_eq!(ok(b(b"\\x0aff"), oid::BYTEA, false), Value::Blob(vec![10, 255]));
        assert_eq!(ok(None, oid::INT8, true), Value::Null);
        for (bytes, o, f) in [
            (&b"x"[..], oid::INT8, false),
            (&b"x"[..], oid::INT8, true),
            (&b"\xff"[..], oid::TEXT, false),
            ("\\x\u{e4}".as_bytes(), oid::BYTEA, false),
            (&b""[..], oid::BOOL, true),
        ] {
            assert!(decode(b(bytes).as_ref(), o, f).is_err());
        }
    }
}

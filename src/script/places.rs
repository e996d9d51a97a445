//! `to:`, the place that segments are moved to: a host's name, `#{ host, dir }` for all of them, or a map
//! of places by dbid. Each may say that the host of the other copy is meant.

use super::near::is_it;
use super::options::texts;
use crate::cluster::{To, Wanted};
use crate::core::ids::Dbid;
use rhai::{Dynamic, Map};

/// What it takes, for an error.
const TAKES: &str = "a host, such as \"sdw3\", #{ host: \"sdw3\", dir: \"/srv\" }, or places by dbid, such as \
                     #{ \"6\": #{ host: \"sdw3\", port: 7002, replication_port: 9002, datadir: \"/srv/c0-6\" } }";
/// What may be said of the place of every segment, and of the place of one.
const OF_ALL: &[&str] = &["host", "dir", "colocated"];
const OF_ONE: &[&str] = &["host", "dir", "datadir", "port", "replication_port", "colocated"];

/// Reads the option's value; in words what it takes when it is something else.
pub(super) fn read(value: &Dynamic) -> Result<To, String> {
    let Some(map) = value.read_lock::<Map>() else {
        let name = texts(value).filter(|names| names.len() == 1).and_then(|mut names| names.pop());
        return name.map(|name| To::host(&name)).ok_or_else(|| TAKES.into());
    };
    if !map.is_empty() && map.keys().all(|key| key.parse::<i64>().is_ok()) {
        let each = map.iter().map(|(dbid, place)| {
            let dbid = dbid.parse().map(Dbid).map_err(|_| TAKES.to_string())?;
            let place = place.read_lock::<Map>().ok_or(TAKES)?;
            Ok((dbid, wanted(&place, OF_ONE)?))
        });
        return Ok(To { each: each.collect::<Result<_, String>>()?, ..To::default() });
    }
    Ok(To { all: Some(wanted(&map, OF_ALL)?), ..To::default() })
}

fn wanted(map: &Map, names: &[&str]) -> Result<Wanted, String> {
    if map.is_empty() {
        return Err(TAKES.into());
    }
    let mut wanted = Wanted::default();
    for (key, value) in map {
        if !names.contains(&key.as_str()) {
            let near = is_it(key, names.iter().copied());
            return Err(format!("a place of {}, and `{key}` is none of them{near}", names.join(", ")));
        }
        let text =
            || texts(value).filter(|t| t.len() == 1).and_then(|mut t| t.pop()).ok_or(format!("a text as `{key}`"));
        let port = || {
            let port = value.as_int().ok().and_then(|n| u16::try_from(n).ok()).filter(|port| *port > 0);
            port.ok_or(format!("a port from 1 to 65535 as `{key}`"))
        };
        match key.as_str() {
            "host" => wanted.host = Some(text()?),
            "dir" => wanted.dir = Some(path(key, text()?)?),
            "datadir" => wanted.datadir = Some(path(key, text()?)?),
            "colocated" => {
                wanted.colocated = value.as_bool().map_err(|_| "true or false as `colocated`".to_string())?;
            }
            "port" => wanted.port = Some(port()?),
            _ => wanted.replication_port = Some(port()?),
        }
    }
    if wanted.dir.is_some() && wanted.datadir.is_some() {
        return Err("`dir` or `datadir`: the one is in the other".into());
    }
    Ok(wanted)
}

fn path(key: &str, text: String) -> Result<String, String> {
    if text.starts_with('/') { Ok(text) } else { Err(format!("an absolute path as `{key}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhai::Engine;

    fn to(text: &str) -> Result<To, String> {
        read(&Engine::new_raw().eval_expression::<Dynamic>(text).unwrap())
    }

    #[test]
    fn a_place_is_a_host_a_map_or_a_map_of_places_by_dbid() {
        assert_eq!(to(r#""sdw3""#), Ok(To::host("sdw3")));
        let dir = to(r#"#{ host: "sdw3", dir: "/srv/b" }"#).unwrap();
        assert_eq!(dir.of(Dbid(6)).unwrap().dir.as_deref(), Some("/srv/b"));
        let each = to(r#"#{ "6": #{ host: "sdw3", port: 7010 }, "4": #{ datadir: "/srv/b/x" } }"#).unwrap();
        assert_eq!((each.of(Dbid(6)).unwrap().port, each.of(Dbid(5))), (Some(7010), None));
        assert!(to(r#"#{ host: "sdw1", colocated: true }"#).unwrap().all.unwrap().colocated);
        assert_eq!(each.of(Dbid(4)).unwrap().datadir.as_deref(), Some("/srv/b/x"));
    }

    #[test]
    fn what_is_no_place_is_told_what_one_is() {
        for (text, said) in [
            ("7", "a host, such as"),
            ("#{}", "a host, such as"),
            (r#"#{ hots: "sdw3" }"#, "is it `host`"),
            (r#"#{ host: "sdw3", port: 7000 }"#, "`port` is none of them"),
            (r#"#{ "6": #{ port: 0 } }"#, "a port from 1 to 65535"),
            (r#"#{ "6": #{ datadir: "c0-6" } }"#, "an absolute path"),
            (r#"#{ host: "sdw1", colocated: 1 }"#, "true or false"),
            (r#"#{ "6": #{ dir: "/a", datadir: "/a/b" } }"#, "the one is in the other"),
        ] {
            let error = to(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

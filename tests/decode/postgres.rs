//! What PostgreSQL clients and segments say, as far as it is read here.

use crate::harness::{ITERATIONS, mutate};
use bytes::{Bytes, BytesMut};
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion, SslNegotiationMetaMessage};
use segsh::gateway::decode::{FrameStream, MAX_STARTUP, Startup, read_error, read_startup};
use segsh::sql::message;

fn typed(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("small").to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn untyped(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("small").to_be_bytes();
    [&length[..], body].concat()
}

fn session_messages() -> Vec<Vec<u8>> {
    vec![
        typed(b'Q', b"select 1\0"),
        typed(b'P', b"name\0insert into t values ($1, $2)\0\0\x02\0\0\0\x14\0\0\0\x19"),
        typed(b'B', b"portal\0name\0\0\x01\0\x01\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\0\x01\0\x01"),
        typed(b'D', b"Sname\0"),
        typed(b'C', b"Pportal\0"),
        typed(b'E', b"portal\0\0\0\0\x0a"),
        typed(b'S', b""),
        typed(b'H', b""),
        typed(b'd', b"1\tone\n"),
        typed(b'c', b""),
        typed(b'f', b"no more\0"),
        typed(b'p', b"secret\0"),
        typed(b'X', b""),
    ]
}

fn startup_packets() -> Vec<Vec<u8>> {
    vec![
        untyped(b"\0\x03\0\0user\0ann\0database\0content0\0application_name\0psql\0\0"),
        untyped(b"\0\x03\0\x02user\0ann\0_pq_.more\x001\0\0"),
        untyped(&80_877_103u32.to_be_bytes()),
        untyped(&80_877_104u32.to_be_bytes()),
        untyped(&[&80_877_102u32.to_be_bytes()[..], b"\0\0\0\x09abcd"].concat()),
    ]
}

/// Makes the length of the first message that of what is there.
fn whole(bytes: &mut [u8], head: usize) {
    if bytes.len() >= head + 4 {
        let length = u32::try_from(bytes.len() - head).expect("small").to_be_bytes();
        bytes[head..head + 4].copy_from_slice(&length);
    }
}

/// Reads messages until no more can be read, as a session does, and says how many there were.
fn read_all(bytes: &[u8], mut context: DecodeContext) -> Result<usize, String> {
    let mut input = BytesMut::from(bytes);
    let mut count = 0;
    while let Some(read) = message::next(&mut input, &context)? {
        count += 1;
        match read {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None) => {
                context.awaiting_frontend_ssl = false
            }
            PgWireFrontendMessage::Startup(_) | PgWireFrontendMessage::CancelRequest(_) => {
                context.awaiting_frontend_ssl = false;
                context.awaiting_frontend_startup = false;
            }
            _ => {}
        }
    }
    Ok(count)
}

fn context(started: bool) -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
    context.awaiting_frontend_ssl = !started;
    context.awaiting_frontend_startup = !started;
    context
}

fn bounded(bytes: &[u8], context: impl Fn() -> DecodeContext) -> Result<usize, String> {
    let mut result = Ok(0);
    let taken = allocation_counter::measure(|| result = read_all(bytes, context())).bytes_max;
    let bound = (16 << 10) + 16 * bytes.len() as u64;
    assert!(taken <= bound, "{} bytes took {taken}", bytes.len());
    result
}

#[test]
fn a_clients_messages_are_read_or_refused_in_words_and_cost_little() {
    let samples = session_messages();
    for sample in &samples {
        assert_eq!(bounded(sample, || context(true)), Ok(1), "{sample:?}");
        for cut in 0..sample.len() {
            assert_eq!(bounded(&sample[..cut], || context(true)), Ok(0), "{sample:?} cut at {cut} waits for the rest");
        }
    }
    mutate(ITERATIONS, |mutation| {
        let bytes = mutation.of(&samples, |bytes| whole(bytes, 1));
        if let Err(words) = bounded(&bytes, || context(true)) {
            assert!(!words.is_empty());
        }
    });
}

#[test]
fn a_startup_packet_is_read_or_refused_in_words_and_costs_little() {
    let samples = startup_packets();
    for sample in &samples {
        let read = bounded(sample, || context(false));
        assert!(matches!(read, Ok(1 | 2)), "{sample:?}: {read:?}");
    }
    mutate(ITERATIONS, |mutation| {
        let bytes = mutation.of(&samples, |bytes| whole(bytes, 0));
        if let Err(words) = bounded(&bytes, || context(false)) {
            assert!(!words.is_empty());
        }
    });
}

#[test]
fn what_a_client_says_first_is_read_or_refused_by_the_front() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let samples = startup_packets();
    let read = |bytes: &[u8]| {
        let mut stream = FrameStream::new(tokio::io::join(bytes, tokio::io::sink()));
        runtime.block_on(read_startup(&mut stream))
    };
    assert!(matches!(read(&samples[0]), Ok(Startup::Session(_))));
    assert!(matches!(read(&samples[4]), Ok(Startup::Cancel(_))));
    let all = [samples[3].clone(), samples[2].clone(), samples[1].clone()].concat();
    assert!(matches!(read(&all), Ok(Startup::Session(_))), "encryption is declined twice");
    mutate(ITERATIONS, |mutation| {
        let bytes = mutation.of(&samples, |bytes| whole(bytes, 0));
        let mut result = None;
        let taken = allocation_counter::measure(|| result = Some(read(&bytes))).bytes_max;
        // The stream is read in steps of 16 KiB.
        assert!(taken <= (64 << 10) + 4 * MAX_STARTUP as u64, "{} bytes took {taken}", bytes.len());
        match result {
            Some(Ok(Startup::Session(parameters))) => {
                // What is passed on to a segment is what was read.
                let packet = untyped_of(&parameters.packet());
                assert!(matches!(read(&packet), Ok(Startup::Session(again)) if again.packet() == parameters.packet()));
            }
            Some(Err(error)) => assert!(!error.to_string().is_empty()),
            _ => {}
        }
    });
}

fn untyped_of(packet: &Bytes) -> Vec<u8> {
    packet.to_vec()
}

#[test]
fn the_gateways_frames_are_cut_at_their_lengths_and_never_beyond() {
    let samples: Vec<Vec<u8>> = session_messages().chunks(3).map(<[Vec<u8>]>::concat).collect();
    let read = |bytes: &[u8]| {
        let mut stream = FrameStream::with_buffer(tokio::io::empty(), BytesMut::from(bytes));
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = stream.buffered() {
            frames.push(frame);
        }
        (frames, stream.unread())
    };
    mutate(ITERATIONS, |mutation| {
        let bytes = mutation.of(&samples, |_| ());
        let (frames, unread) = read(&bytes);
        let cut: usize = frames.iter().map(|f| f.raw().len()).sum();
        assert_eq!(cut + unread, bytes.len());
        assert!(frames.iter().all(|f| f.body().len() + 5 == f.raw().len()));
    });
}

#[test]
fn a_segments_error_is_read_as_far_as_it_goes() {
    let sample = b"SFATAL\0VFATAL\0C57P01\0Mthe segment stops\0Hwait\0\0".to_vec();
    let read = read_error(Bytes::from(sample.clone()));
    assert_eq!((read.fatal, read.code.as_str(), read.message.as_str()), (true, "57P01", "the segment stops"));
    mutate(ITERATIONS, |mutation| {
        let bytes = mutation.of(std::slice::from_ref(&sample), |_| ());
        let mut read = None;
        let taken = allocation_counter::measure(|| read = Some(read_error(Bytes::from(bytes.clone())))).bytes_max;
        assert!(taken <= 1024 + 16 * bytes.len() as u64, "{} bytes took {taken}", bytes.len());
    });
}

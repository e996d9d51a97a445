//! Database `postgres`: a plain relay between the client and the catalog's own server.

use super::answer::{Answer, Reply};
use super::cancel::{Registration, ServerKey, Target};
use super::frame::{FrameError, FrameStream};
use super::session::{ClientStream, Ending};
use super::startup::Parameters;
use super::{CatalogServer, message};
use bytes::BytesMut;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long the catalog may take to end a session whose client can't be understood any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Relays one session until either side ends it, or `stop` resolves.
pub(super) async fn relay(
    client: FrameStream<ClientStream>,
    startup: &Parameters,
    registration: &Registration,
    catalog: &dyn CatalogServer,
    stop: impl Future<Output = ()>,
) {
    let (stream, buffer) = client.into_parts();
    let (client_read, mut client_write) = tokio::io::split(stream);
    let ending =
        between(FrameStream::with_buffer(client_read, buffer), &mut client_write, startup, registration, catalog, stop)
            .await;
    if let Ending::Fatal(reply) = ending {
        let mut out = BytesMut::new();
        message::error(&mut out, &reply);
        // The client may be gone: then there is nobody to tell.
        let _ = client_write.write_all(&out).await;
        let _ = client_write.shutdown().await;
    }
}

async fn between<R, W>(
    mut from_client: FrameStream<R>,
    to_client: &mut W,
    startup: &Parameters,
    registration: &Registration,
    catalog: &dyn CatalogServer,
    stop: impl Future<Output = ()>,
) -> Ending
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let near = match connect(catalog, startup).await {
        Ok(near) => near,
        Err(error) => {
            let text = format!("the catalog can't be reached: {error}");
            return Ending::Fatal(Reply::new(Answer::CatalogGone, text));
        }
    };
    let (near_read, mut near_write) = near.into_split();
    let mut from_catalog = FrameStream::new(near_read);
    let mut down = std::pin::pin!(copy_down(&mut from_catalog, to_client, registration));
    let ending = tokio::select! {
        _ = &mut down => return Ending::Gone,
        () = stop => Ending::Fatal(Reply::new(Answer::ShuttingDown, "the coordinator stops")),
        error = copy_up(&mut from_client, &mut near_write) => match error {
            Ok(()) => Ending::Gone,
            Err(error) => Ending::from(error),
        },
    };
    if matches!(ending, Ending::Fatal(_)) {
        // The catalog ends first, so that its last message is whole before ours.
        let _ = near_write.shutdown().await;
        let _ = tokio::time::timeout(LAST_WORDS, down).await;
    }
    ending
}

async fn connect(catalog: &dyn CatalogServer, startup: &Parameters) -> std::io::Result<UnixStream> {
    let (mut near, far) = UnixStream::pair()?;
    catalog.serve(far);
    near.write_all(&startup.packet()).await?;
    Ok(near)
}

async fn copy_up<R, W>(from: &mut FrameStream<R>, to: &mut W) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    while let Some(frame) = from.next().await? {
        out.extend_from_slice(frame.raw());
        while let Some(frame) = from.buffered()? {
            out.extend_from_slice(frame.raw());
        }
        to.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

/// As it comes, but for the key: the client gets the front's own, and the catalog's is kept.
async fn copy_down<R, W>(from: &mut FrameStream<R>, to: &mut W, registration: &Registration) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    let mut started = false;
    let mut next = from.next().await?;
    while let Some(frame) = next {
        started |= frame.tag() == b'Z';
        if frame.tag() == b'K' && !started {
            let target = ServerKey::read(&frame.body()).map(Target::Catalog);
            registration.point.set_target(target);
            message::key_data(&mut out, registration.pid, &registration.secret);
        } else {
            out.extend_from_slice(frame.raw());
        }
        next = from.buffered()?;
        if next.is_none() {
            to.write_all(&out).await?;
            to.flush().await?;
            out.clear();
            next = from.next().await?;
        }
    }
    Ok(())
}

//! Runs a server on tokio, and reports its number of tasks on a second port.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};

/// Runs `server` on tokio's defaults: a worker thread for each core.
pub(super) fn serve_async(
    counts: Option<SocketAddr>,
    server: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        if let Some(address) = counts {
            let listener = TcpListener::bind(address).await?;
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // A client that leaves before the answer is not an error.
                    let _ = report_tasks(stream).await;
                }
            });
        }
        server.await
    })
}

async fn report_tasks(mut stream: TcpStream) -> io::Result<()> {
    // The request needs no parsing, but unread input would turn the close into a reset.
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await?;
    // The task of this answer is not the server's.
    let tasks = Handle::current().metrics().num_alive_tasks().saturating_sub(1);
    let answer = format!("HTTP/1.0 200 OK\r\n\r\ntasks {tasks}\n");
    stream.write_all(answer.as_bytes()).await
}

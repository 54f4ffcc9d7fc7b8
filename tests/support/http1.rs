//! Just enough HTTP/1.1 to find where messages begin and end, without changing a byte of them (RFC 9112
//! section 6).

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Result};

/// The start line and the headers of a message.
#[derive(Debug, Clone)]
pub struct Head {
    /// As it came, with the empty line.
    pub raw: Vec<u8>,
    /// The first line.
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The next head; `None` where the connection ended before its first byte.
    pub async fn read(from: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Option<Head>> {
        let mut raw = Vec::new();
        loop {
            let before = raw.len();
            from.read_until(b'\n', &mut raw).await?;
            match &raw[before..] {
                b"" if before == 0 => return Ok(None),
                b"" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                b"\r\n" | b"\n" => break,
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&raw);
        let mut lines = text.lines();
        let start = lines.next().unwrap_or_default().to_string();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
            .collect();
        Ok(Some(Head { start, headers, raw }))
    }

    /// The value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A word of the start line: method, target; or version, status.
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// Where the body of a request ends.
    pub fn request_body(&self) -> Framing {
        self.framing().unwrap_or(Framing::Length(0))
    }

    /// Where the body of a response to `method` ends.
    pub fn response_body(&self, method: &str) -> Framing {
        match self.status() {
            _ if method == "HEAD" => Framing::Length(0),
            100..200 | 204 | 304 => Framing::Length(0),
            _ => self.framing().unwrap_or(Framing::Close),
        }
    }

    fn framing(&self) -> Option<Framing> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Some(Framing::Chunked(Chunk::Size));
        }
        self.header("content-length").and_then(|length| length.parse().ok()).map(Framing::Length)
    }
}

/// How much of a body is left to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Framing {
    Length(u64),
    Chunked(Chunk),
    Close,
}

/// What comes next in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chunk {
    Size,
    /// So many bytes of content.
    Data(u64),
    /// The line end behind the content.
    DataEnd,
    Trailer,
    Done,
}

/// A stretch of a body as it is on the wire.
#[derive(Debug)]
pub struct Piece {
    pub raw: Vec<u8>,
    /// Whether `raw` is content, and not a chunk's size or line end.
    pub content: bool,
}

impl Framing {
    /// The next stretch of the body, `None` behind its end.
    pub async fn next(&mut self, from: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Option<Piece>> {
        match self {
            Framing::Length(0) | Framing::Chunked(Chunk::Done) => Ok(None),
            Framing::Length(left) => {
                let raw = some(from, *left).await?;
                *left -= raw.len() as u64;
                if raw.is_empty() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Some(Piece { raw, content: true }))
            }
            Framing::Close => {
                let raw = some(from, u64::MAX).await?;
                Ok((!raw.is_empty()).then_some(Piece { raw, content: true }))
            }
            Framing::Chunked(Chunk::Data(left)) => {
                let raw = some(from, *left).await?;
                *left -= raw.len() as u64;
                if raw.is_empty() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                if *left == 0 {
                    *self = Framing::Chunked(Chunk::DataEnd);
                }
                Ok(Some(Piece { raw, content: true }))
            }
            Framing::Chunked(chunk) => {
                let mut raw = Vec::new();
                if from.read_until(b'\n', &mut raw).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let line = String::from_utf8_lossy(&raw);
                let line = line.trim_end();
                *chunk = match chunk {
                    Chunk::Size => {
                        let size = line.split(';').next().unwrap_or_default();
                        match u64::from_str_radix(size, 16).map_err(|_| std::io::ErrorKind::InvalidData)? {
                            0 => Chunk::Trailer,
                            size => Chunk::Data(size),
                        }
                    }
                    Chunk::Trailer if line.is_empty() => Chunk::Done,
                    Chunk::Trailer => Chunk::Trailer,
                    _ => Chunk::Size,
                };
                Ok(Some(Piece { raw, content: false }))
            }
        }
    }
}

/// What is there, at most `most` bytes; empty at the end.
async fn some(from: &mut BufReader<impl AsyncRead + Unpin>, most: u64) -> Result<Vec<u8>> {
    let mut raw = vec![0; most.min(64 * 1024) as usize];
    let got = from.read(&mut raw).await?;
    raw.truncate(got);
    Ok(raw)
}

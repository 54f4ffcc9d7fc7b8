//! As much of the tar format (POSIX ustar) as an archive of a session needs: plain files, one behind the
//! other.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Error, ErrorKind, Result, sessions::wire::wrong};

const BLOCK: usize = 512;

/// The header of a plain file. `name` has at most 100 bytes.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // Too long for digits: the high bit, then a binary number.
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Zeros behind a file, up to the next block.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK as u64 - 1 - (size + BLOCK as u64 - 1) % BLOCK as u64) as usize
}

/// Writes a file that is in memory.
pub(super) async fn write<W: AsyncWrite + Unpin + Send>(out: &mut W, name: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    out.write_all(&header(name, size)).await?;
    out.write_all(bytes).await?;
    out.write_all(&[0; BLOCK][..padding(size)]).await?;
    Ok(())
}

/// Ends the archive.
pub(super) async fn finish<W: AsyncWrite + Unpin + Send>(out: &mut W) -> Result<()> {
    out.write_all(&[0; 2 * BLOCK]).await?;
    // tokio's standard output does not wait for its thread when it is shut down.
    out.flush().await?;
    out.shutdown().await?;
    Ok(())
}

/// The next file's name and size; `None` at the end of the archive.
pub(super) async fn next<R: AsyncRead + Unpin + Send>(input: &mut R) -> Result<Option<(String, u64)>> {
    let mut block = [0; BLOCK];
    input.read_exact(&mut block).await.map_err(|e| bad("it ends early").with_source(e))?;
    parse(&block)
}

/// The size of the first file, which must have this name: what begins in another way is another kind of file.
pub(super) async fn first<R: AsyncRead + Unpin + Send>(input: &mut R, name: &str) -> Result<u64> {
    let mut start = Vec::new();
    input.take(BLOCK as u64).read_to_end(&mut start).await?;
    if !start.starts_with(name.as_bytes()) {
        let what = match start.first_chunk() {
            None => "nothing, or next to nothing, came".to_owned(),
            Some([0x1f, 0x8b, _, _]) => {
                "this is a gzip file; if an archive is in it, decompress it first (gunzip)".to_owned()
            }
            Some([0x28, 0xb5, 0x2f, 0xfd]) => {
                "this is a zstd file; if an archive is in it, decompress it first (unzstd)".to_owned()
            }
            Some(_) => "this is something else".to_owned(),
        };
        let message = format!("an import needs an archive that `session export` wrote; {what}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let block = start.first_chunk().ok_or_else(|| bad("it ends early"))?;
    match parse(block)? {
        Some((found, size)) if found == name => Ok(size),
        _ => Err(bad("its first entry")),
    }
}

fn parse(block: &[u8; BLOCK]) -> Result<Option<(String, u64)>> {
    if *block == [0; BLOCK] {
        return Ok(None);
    }
    let mut sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    sum -= block[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum += 8 * u32::from(b' ');
    if octal(&block[148..156]) != Some(sum.into()) {
        return Err(bad("a header's checksum is wrong"));
    }
    if !matches!(block[156], b'0' | 0) || &block[257..262] != b"ustar" || block[345] != 0 {
        return Err(bad("it has an entry that is no plain file with a short name"));
    }
    let end = block[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
    let name = std::str::from_utf8(&block[..end]).map_err(|_| bad("a name is not UTF-8"))?.to_owned();
    let mut large = [0; 8];
    large.copy_from_slice(&block[128..136]);
    let size = match block[124] & 0x80 {
        0 => octal(&block[124..136]),
        _ => Some(u64::from_be_bytes(large)).filter(|size| *size < 1 << 62),
    };
    Ok(Some((name, size.ok_or_else(|| bad("a size is no number"))?)))
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

pub(super) fn bad(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the archive cannot be read: {what}"))
        .with_advice("take another archive, or export the session again")
}

/// The error of what an entry holds: what one would do about a damaged object of a storage does not help.
pub(super) fn damaged(entry: impl std::fmt::Display, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => bad(format_args!("{entry} is damaged: {}", wrong(&error))),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_sizes_come_back_and_damage_is_found() {
        for size in [0, 1, 511, 512, 513, 7_777_777, (1 << 33) - 1, 1 << 33, 1 << 40] {
            let block = header("c/999999999/998-1", size);
            let read = next(&mut &block[..]).await.unwrap();
            assert_eq!(read, Some(("c/999999999/998-1".to_owned(), size)));
            assert_eq!((size + padding(size) as u64) % 512, 0);
            assert!(padding(size) < 512);
        }
        let block = header("x", 5);
        for at in [0, 124, 150, 156, 300] {
            let mut bad = block;
            bad[at] ^= 1;
            assert!(next(&mut &bad[..]).await.is_err(), "{at}");
        }
        assert!(next(&mut &block[..100]).await.is_err());
        assert_eq!(next(&mut &[0; 512][..]).await.unwrap(), None);
    }
}

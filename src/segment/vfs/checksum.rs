//! The checksum every page of `main.db` carries in its last eight bytes.
//!
//! The low four bytes are the CRC-32C of the first 4088 bytes. The high four are the CRC-32C of the
//! page's number (little endian) followed by the low four, so that a sound page in the wrong place
//! is caught too.

/// Bytes of a page; also of a block of change tracking.
pub const PAGE_SIZE: usize = 4096;
/// Bytes at the end of a page that SQLite leaves to us.
pub const RESERVED: usize = 8;
const COVERED: usize = PAGE_SIZE - RESERVED;

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFault {
    /// The buffer is not one page long.
    Length,
    /// The content does not agree with its checksum.
    Content,
    /// The content is sound, but it is another page's.
    Misplaced,
}

fn placed(page_number: u32, low: [u8; 4]) -> [u8; 4] {
    let crc = crc32c::crc32c(&page_number.to_le_bytes());
    crc32c::crc32c_append(crc, &low).to_le_bytes()
}

/// Writes the checksum of page `page_number` (counted from 1) into its reserved bytes.
pub fn seal_page(page_number: u32, page: &mut [u8; PAGE_SIZE]) {
    let low = crc32c::crc32c(&page[..COVERED]).to_le_bytes();
    page[COVERED..COVERED + 4].copy_from_slice(&low);
    page[COVERED + 4..].copy_from_slice(&placed(page_number, low));
}

/// Checks a page (counted from 1). An all-zero page is one that was never written, and sound.
pub fn verify_page(page_number: u32, page: &[u8]) -> Result<(), PageFault> {
    if page.len() != PAGE_SIZE {
        return Err(PageFault::Length);
    }
    let low = crc32c::crc32c(&page[..COVERED]).to_le_bytes();
    if page[COVERED..COVERED + 4] != low {
        let unwritten = page.iter().all(|b| *b == 0);
        return if unwritten { Ok(()) } else { Err(PageFault::Content) };
    }
    if page[COVERED + 4..] != placed(page_number, low) {
        return Err(PageFault::Misplaced);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> [u8; PAGE_SIZE] {
        let mut page = [0u8; PAGE_SIZE];
        for (i, b) in page.iter_mut().enumerate() {
            *b = (i % 251) as u8;
        }
        seal_page(7, &mut page);
        page
    }

    #[test]
    fn a_sealed_page_verifies_at_its_own_number_only() {
        assert_eq!(verify_page(7, &page()), Ok(()));
        assert_eq!(verify_page(8, &page()), Err(PageFault::Misplaced));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for byte in (0..PAGE_SIZE).step_by(37).chain(COVERED..PAGE_SIZE) {
            for bit in 0..8 {
                let mut page = page();
                page[byte] ^= 1 << bit;
                assert!(verify_page(7, &page).is_err(), "byte {byte} bit {bit}");
            }
        }
    }

    #[test]
    fn an_unwritten_page_is_sound_and_a_short_one_is_not() {
        assert_eq!(verify_page(1, &[0u8; PAGE_SIZE]), Ok(()));
        assert_eq!(verify_page(1, &[0u8; 100]), Err(PageFault::Length));
    }
}

use http::StatusCode;
use proptest::prelude::*;

use super::*;

fn head(lines: &str) -> Head {
    parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).unwrap()
}

#[test]
fn the_end_of_a_head_is_found_wherever_reads_end() {
    for text in ["HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\nbody\n\n"] {
        let whole = text.find("body").unwrap();
        for looked in 0..whole {
            assert_eq!(end(text.as_bytes(), looked), Some(whole), "{looked}");
            assert_eq!(end(&text.as_bytes()[..looked], 0), None, "{looked}");
        }
    }
}

#[test]
fn lengths_are_plain_numbers_or_refused() {
    assert_eq!(head("Content-Length: 5\r\n").framing().unwrap(), Framing::Length(5));
    assert_eq!(head("Content-Length: 5\r\nContent-Length: 5\r\n").framing().unwrap(), Framing::Length(5));
    for lines in [
        "Content-Length: -1\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        assert_eq!(head(lines).framing(), Err(Setback::Lied(Lie::Length)), "{lines}");
    }
}

#[test]
fn only_chunked_is_taken_as_transfer_coding() {
    assert_eq!(head("Transfer-Encoding: Chunked\r\n").framing().unwrap(), Framing::Chunked);
    for lines in
        ["Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"]
    {
        assert_eq!(head(lines).framing(), Err(Setback::Lied(Lie::Encoding)), "{lines}");
    }
    let mut old = parse(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert_eq!(old.framing(), Err(Setback::Lied(Lie::Encoding)));
}

#[test]
fn chunked_overrides_a_length_and_the_connection_is_not_used_again() {
    let mut both = head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    assert!(!both.is_kept());
    assert_eq!(both.framing().unwrap(), Framing::Chunked);
    assert!(!both.headers.contains_key(CONTENT_LENGTH));
}

#[test]
fn without_length_the_body_lasts_until_the_end() {
    assert_eq!(head("").framing().unwrap(), Framing::UntilClose);
    let mut nothing = head("Content-Length: 7\r\n");
    nothing.status = StatusCode::NO_CONTENT;
    assert_eq!(nothing.framing().unwrap(), Framing::Length(0));
}

#[test]
fn a_connection_is_kept_unless_the_server_closes_it() {
    assert!(head("").is_kept());
    assert!(!head("Connection: Close\r\n").is_kept());
    assert!(!head("Connection: keep-alive, close\r\n").is_kept());
    assert!(!parse(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().is_kept());
}

#[test]
fn a_value_of_several_lines_is_one_value() {
    let mut folded = head("Content-Length:\r\n 5\r\nContent-Range: bytes\r\n\t0-4/5\r\nX: a\r\n  b\n c\r\n");
    assert_eq!(folded.headers["content-range"], "bytes 0-4/5");
    assert_eq!(folded.headers["x"], "a b c");
    assert_eq!(folded.framing().unwrap(), Framing::Length(5));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(mut head) = parse(&bytes) {
            head.framing().ok();
            head.is_kept();
        }
        end(&bytes, bytes.len() / 2);
    }
}

//! A service that counts what arrives, and senders that see what comes back.

use super::*;

const NOTHING: Mischief = Mischief {
    lost: 0.0,
    answer_lost: 0.0,
    answer_cut: 0.0,
    late: 0.0,
    twice: 0.0,
    longest_delay: Duration::from_millis(5),
};

/// Answers every request with its body, and counts them.
async fn echo() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let request = read_request(&mut client).await.unwrap().unwrap();
            counting.fetch_add(1, Ordering::SeqCst);
            let body = request.rsplitn(2, |byte| *byte == b'\n').next().unwrap().to_vec();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            client.write_all(&body).await.unwrap();
        }
    });
    (address, arrived)
}

async fn send(proxy: &ChaosProxy) -> String {
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn proxy(mischief: Mischief) -> (ChaosProxy, Arc<AtomicU64>) {
    let (address, arrived) = echo().await;
    let proxy = ChaosProxy::start(address, mischief, 1).await.unwrap();
    proxy.be_calm(false);
    (proxy, arrived)
}

#[tokio::test]
async fn a_calm_network_passes_everything_once() {
    let (proxy, arrived) = proxy(Mischief::RAGE).await;
    proxy.be_calm(true);
    for _ in 0..20 {
        assert_eq!(send(&proxy).await, "HTTP/1.1 200 OK\r\n\r\nhello");
    }
    assert_eq!(arrived.load(Ordering::SeqCst), 20);
    assert_eq!(proxy.done(), Done { requests: 20, ..Done::default() });
}

#[tokio::test]
async fn what_is_lost_never_arrives_and_what_loses_its_answer_does() {
    let (lossy, arrived) = proxy(Mischief { lost: 1.0, ..NOTHING }).await;
    assert_eq!(send(&lossy).await, "");
    assert_eq!(arrived.load(Ordering::SeqCst), 0);
    let (deaf, arrived) = proxy(Mischief { answer_lost: 1.0, ..NOTHING }).await;
    assert_eq!(send(&deaf).await, "");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
    let (short, _) = proxy(Mischief { answer_cut: 1.0, ..NOTHING }).await;
    assert!(send(&short).await.len() < "HTTP/1.1 200 OK\r\n\r\nhello".len());
}

#[tokio::test]
async fn what_is_sent_twice_arrives_twice_and_is_answered_once() {
    let (proxy, arrived) = proxy(Mischief { twice: 1.0, late: 1.0, ..NOTHING }).await;
    assert_eq!(send(&proxy).await, "HTTP/1.1 200 OK\r\n\r\nhello");
    let second = async {
        while arrived.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), second).await.unwrap();
    assert_eq!((proxy.done().twice, proxy.done().late), (1, 1));
}

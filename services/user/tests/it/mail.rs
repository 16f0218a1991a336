//! Mail over SMTP, to a server that only listens.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::harness::{PASSWORD, Shop, address, code_in};

/// Takes one mail after the other and hands each on as it came.
pub async fn listen(listener: TcpListener, mails: mpsc::UnboundedSender<String>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(take(client, mails.clone()));
    }
}

/// Turns away, for now or for good, or says nothing to whoever's address says so.
async fn take(client: TcpStream, mails: mpsc::UnboundedSender<String>) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    client.write_all(b"220 shop\r\n").await?;
    let (mut line, mut mail) = (String::new(), None::<String>);
    loop {
        line.clear();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer: &[u8] = match (&mut mail, line.trim_end()) {
            (Some(_), ".") => {
                let _ = mails.send(mail.take().unwrap_or_default());
                b"250 kept\r\n"
            }
            (Some(mail), text) => {
                mail.push_str(text);
                mail.push('\n');
                continue;
            }
            (None, "DATA") => {
                mail = Some(String::new());
                b"354 go on\r\n"
            }
            (None, text) if text.starts_with("RCPT TO:<mute-") => std::future::pending().await,
            (None, text) if text.starts_with("RCPT TO:<gone-") => b"550 nobody here\r\n",
            (None, text) if text.starts_with("RCPT TO:<busy-") => b"450 try later\r\n",
            (None, _) => b"250 fine\r\n",
        };
        client.write_all(answer).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_mail_server_gets_the_code() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("--smtp-url=smtp://{}", listener.local_addr().expect("an address"));
    let (sender, mut mails) = mpsc::unbounded_channel();
    tokio::spawn(listen(listener, sender));

    let shop = Shop::open_with(&[&url]).await;
    let email = address();
    shop.sign_up(&email, PASSWORD).await.expect("a sign-up");
    let mail = tokio::time::timeout(Duration::from_secs(10), mails.recv()).await;
    let mail = mail.expect("a mail in time").expect("a mail");
    assert!(mail.contains(&format!("To: {email}\n")), "{mail}");
    shop.verify(&email, &code_in(&mail).expect("a code")).await.expect("the mailed code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mail_server_holds_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address_of_nobody = listener.local_addr().expect("an address");
    drop(listener);
    let shop = Shop::open_with(&[&format!("--smtp-url=smtp://{address_of_nobody}")]).await;
    shop.sign_up(&address(), PASSWORD).await.expect("the answer does not wait for the mail");
}

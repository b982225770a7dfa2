//! The service: a course of the wished shape, and blobs that are asked for and never come.

use std::{fmt::Write as _, io::Read as _, net::SocketAddr, path::Path};

use carrel_engine::model::{LearnerId, lease::Role};
use carrel_service::{
    Service, accounts::Passwords, clock::system_clock, config::Config, publish::publish_folder, start, store::Account,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{Failure, Shape};

pub(crate) const NAME: &str = "amina";
pub(crate) const PASSWORD: &str = "a long enough password";

/// Serves until the process that started this one goes away.
pub(crate) async fn serve(shape: Shape) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let config = Config { data: folder.path().join("service"), listen: "127.0.0.1:0".parse()?, ..Config::default() };
    let running = start(config.clone()).await?;
    let service = Service::open(config, system_clock()).await?;
    let course = folder.path().join("course");
    write(&course, shape)?;
    publish_folder(service.store.as_ref(), &service.objects, &course, &system_clock()).await?;
    let learner: LearnerId = "01900000-0000-7000-8000-000000000001".parse()?;
    let now = system_clock()();
    let account = Account {
        learner,
        name: NAME.to_owned(),
        display_name: NAME.to_owned(),
        password_hash: Passwords::default().hash(PASSWORD.to_owned()).await?,
        quota_bytes: None,
        created_at: now,
    };
    service.store.add_account(&account).await?;
    service.store.enrol(learner, "course", Role::Learner, None, now).await?;
    let gate = gate(running.address).await?;
    println!("http://{gate}");
    // Until the other end closes.
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0; 1])).await??;
    Ok(())
}

fn write(course: &Path, shape: Shape) -> Result<(), Failure> {
    std::fs::create_dir_all(course)?;
    std::fs::write(course.join("course.toml"), "title = \"A long course\"\n")?;
    for unit in 0..shape.downloads {
        let folder = course.join(format!("{unit:05}-unit-{unit}"));
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("unit.toml"), format!("title = \"Unit {unit}\"\n"))?;
        for lesson in 0..shape.items {
            let mut page = format!("+++\nkind = \"page\"\ntitle = \"Lesson {lesson}\"\n+++\n");
            writeln!(page, "What lesson {lesson} of unit {unit} says is said nowhere else.")?;
            std::fs::write(folder.join(format!("{lesson:05}-lesson-{lesson}.md")), page)?;
        }
    }
    Ok(())
}

/// Lets everything through but requests for blobs: those are heard and never answered.
async fn gate(service: SocketAddr) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                // One that went away is nobody's loss.
                pass(client, service).await.ok();
            });
        }
    });
    Ok(address)
}

async fn pass(mut client: TcpStream, service: SocketAddr) -> std::io::Result<()> {
    let mut head = vec![0; 16 * 1024];
    let length = client.read(&mut head).await?;
    head.truncate(length);
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if path.windows(7).any(|part| part == b"/blobs/") {
        std::future::pending::<()>().await;
    }
    let mut through = TcpStream::connect(service).await?;
    through.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut through).await.map(|_| ())
}

//! The service is what its OpenAPI document says.

use crate::site::{On, Site};

#[tokio::test]
async fn the_document_is_served() {
    let served = Site::new(On::Sqlite).await.get("/openapi.json", None).await.ok();
    let current = carrel_service::openapi_json().unwrap();
    assert_eq!(served, serde_json::from_str::<serde_json::Value>(&current).unwrap());
}

#[tokio::test]
async fn every_path_in_the_document_is_there_and_needs_a_token_where_it_says_so() {
    let site = Site::new(On::Sqlite).await;
    let document: serde_json::Value = serde_json::from_str(&carrel_service::openapi_json().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 14, "{} paths", paths.len());
    for (path, operations) in paths {
        let path = path.replace("{id}", "01900000-0000-7000-8000-000000000001").replace("{hash}", &"a".repeat(64));
        for (method, operation) in operations.as_object().unwrap() {
            let request = axum::http::Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .header("content-type", "application/json");
            let reply = site.send(request.body(axum::body::Body::from("{}")).unwrap()).await;
            let secured = operation.get("security").is_some();
            assert_eq!(reply.status == 401, secured, "{method} {path}: {}", reply.status);
            assert_ne!(reply.status, 404, "{method} {path} is there");
        }
    }
}

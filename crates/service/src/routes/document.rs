//! The OpenAPI document: what the routes say of themselves, and what holds for all of them said once.
//!
//! Every failure is a problem (RFC 9457) under its own media type, and some can come of any request: no token, a body
//! that can't be read, a database that is busy. A route names only those that mean something of their own.

use carrel_model::wire::problem::PROBLEM_JSON;
use utoipa::openapi::{
    Content, OpenApi, Ref, RefOr, Response,
    path::{Operation, ParameterIn},
};

const JSON: &str = "application/json";

/// Says of every operation what holds for all.
pub(super) fn completed(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.head, &mut item.post, &mut item.put, &mut item.delete];
        operations.into_iter().flatten().for_each(complete);
    }
    document
}

fn complete(operation: &mut Operation) {
    for response in operation.responses.responses.iter_mut().filter(|(status, _)| is_failure(status)) {
        if let (_, RefOr::T(response)) = response
            && let Some(content) = response.content.swap_remove(JSON)
        {
            response.content.insert(PROBLEM_JSON.to_owned(), content);
        }
    }
    for (status, why) in common(operation) {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(why)));
    }
}

fn is_failure(status: &str) -> bool {
    status.starts_with('4') || status.starts_with('5')
}

/// What can come of any request of this kind.
fn common(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let parameters = operation.parameters.iter().flatten();
    let has = |place: ParameterIn| {
        let is = |parameter: &RefOr<_>| match parameter {
            RefOr::T(utoipa::openapi::path::Parameter { parameter_in, .. }) => *parameter_in == place,
            RefOr::Ref(_) => false,
        };
        parameters.clone().any(is)
    };
    let has_body = operation.request_body.is_some();
    let conditional = [
        (has_body || has(ParameterIn::Query), "400", "`invalid_request`: it can't be read"),
        (operation.security.is_some(), "401", "`sign_in_needed`: no valid access token"),
        (has(ParameterIn::Path), "404", "`not_found`: there is no such thing"),
        (has_body, "413", "`invalid_request`: the body is too large"),
        (has_body, "415", "`invalid_request`: the body is no JSON, or packed in a way nobody reads"),
        (true, "500", "`internal`: the service failed; details are in its log"),
        (true, "503", "`service_failed`: busy, ending or without room; again after `Retry-After`"),
    ];
    conditional.into_iter().filter(|(holds, ..)| *holds).map(|(_, status, why)| (status, why)).collect()
}

fn problem(why: &str) -> Response {
    let mut response = Response::new(why);
    let schema = Ref::from_schema_name("Problem");
    response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(Content::new(Some(schema))));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn every_failure_is_a_problem_and_every_operation_names_those_that_can_always_come() {
        let document: Value = serde_json::from_str(&crate::openapi_json().unwrap()).unwrap();
        let mut failures = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.contains_key("503"), "{method} {path}");
                assert_eq!(responses.contains_key("415"), operation.get("requestBody").is_some(), "{method} {path}");
                for (status, response) in responses.iter().filter(|(status, _)| super::is_failure(status)) {
                    let content = response["content"].as_object().unwrap();
                    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"], "{path} {status}");
                    failures += 1;
                }
            }
        }
        assert!(failures > 60, "{failures}");
    }

    #[test]
    fn words_stand_in_the_document_as_they_travel() {
        let document: Value = serde_json::from_str(&crate::openapi_json().unwrap()).unwrap();
        let words = &document["components"]["schemas"]["Quality"]["enum"];
        assert_eq!(*words, serde_json::json!(["low", "medium", "high"]));
    }
}

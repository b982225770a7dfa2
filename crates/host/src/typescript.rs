//! The TypeScript client, written from the command table.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use crate::{CommandSpec, commands::COMMANDS};

/// Why the client could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TypeScriptError {
    /// A type could not be written.
    #[error(transparent)]
    Export(#[from] ts_rs::ExportError),
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes one file for each type into `dir/types` and the commands into `dir/commands.ts`.
pub fn write_client(dir: &Path) -> Result<(), TypeScriptError> {
    let types = dir.join("types");
    std::fs::create_dir_all(&types)?;
    let config = ts_rs::Config::new().with_out_dir(&types).with_large_int("number");
    for command in COMMANDS {
        (command.export_types)(&config)?;
    }
    <carrel_engine::EngineEvent as ts_rs::TS>::export_all(&config)?;
    <crate::HostError as ts_rs::TS>::export_all(&config)?;
    std::fs::write(dir.join("commands.ts"), commands_ts(&config))?;
    Ok(())
}

/// A command as it is written down.
struct Line {
    spec: &'static CommandSpec,
    request: String,
    response: String,
}

fn commands_ts(config: &ts_rs::Config) -> String {
    let mut areas: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
    let mut imports = std::collections::BTreeSet::new();
    for spec in COMMANDS {
        let line = Line { spec, request: (spec.request_type)(config), response: (spec.response_type)(config) };
        for name in [&line.request, &line.response] {
            let name = name.trim_start_matches("Array<").trim_end_matches('>');
            if name.chars().next().is_some_and(char::is_uppercase) {
                imports.insert(name.to_owned());
            }
        }
        areas.entry(spec.area).or_default().push(line);
    }
    let mut out =
        String::from("// Generated from the command table of carrel-host. Do not edit: `cargo xtask generate`.\n\n");
    for name in imports {
        let _ = writeln!(out, "import type {{ {name} }} from './types/{name}';");
    }
    out.push_str("\n/** How a front end reaches a command: over IPC or HTTP. */\n");
    out.push_str("export type Call = <T>(command: string, request: unknown) => Promise<T>;\n\n");
    out.push_str("/** Every command, by room. */\nexport interface Commands {\n");
    for (area, commands) in &areas {
        let _ = writeln!(out, "  readonly {area}: {{");
        for Line { spec, request, response } in commands {
            let (doc, verb) = (spec.doc.trim(), spec.verb);
            let parameter = if request == "null" { String::new() } else { format!("request: {request}") };
            let response = if response == "null" { "void" } else { response.as_str() };
            let _ = writeln!(out, "    /** {doc} */\n    {}({parameter}): Promise<{response}>;", camel(verb));
        }
        out.push_str("  };\n");
    }
    out.push_str("}\n\n/** Binds every command to a way of calling. */\nexport function bindCommands(call: Call): Commands {\n  return {\n");
    for (area, commands) in &areas {
        let _ = writeln!(out, "    {area}: {{");
        for Line { spec, request, .. } in commands {
            let (name, verb) = (spec.name, spec.verb);
            let (parameter, argument) = if request == "null" { ("", "null") } else { ("request", "request") };
            let _ = writeln!(out, "      {}: ({parameter}) => call('{name}', {argument}),", camel(verb));
        }
        out.push_str("    },\n");
    }
    out.push_str("  };\n}\n");
    out
}

fn camel(verb: &str) -> String {
    let mut upper = false;
    verb.chars()
        .filter_map(|c| match c {
            '_' => {
                upper = true;
                None
            }
            c if std::mem::take(&mut upper) => Some(c.to_ascii_uppercase()),
            c => Some(c),
        })
        .collect()
}

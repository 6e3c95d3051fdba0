//! `hookmill plugin new NAME --lang LANG`, or for a sender

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::new_from::{ExampleSource, NewFrom};
use super::new_sender::{NewSender, README_LANGUAGE};
use super::setup_steps::SetupSteps;
use crate::cli::failure::Failure;
use crate::cli::flags::{DataDirFlag, PluginsDirFlag};
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::Elsewhere;
use crate::config::{Config, Options};
use crate::model::company::CompanyId;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin new orders --from payload.json                 a plugin that maps this payload, and needs no compiler
  curl -s https://example.com/latest | hookmill plugin new orders --from -
  hookmill plugin new orders --from form.txt --content-type application/x-www-form-urlencoded
  hookmill plugin new orders --from-event 01a20f92-f38c-7145-a565-df7733d05cfc --company clinic-7
  hookmill plugin new orders --lang rust                         a template, which you compile
  hookmill plugin new calls --sender retell                      [auth] of a sender; with --from, the mapping as well

--from writes guesses: mapper.js has a comment for each. A running server loads the folder as it is.
Exit codes: 0 the folder is written; 1 it could not be, or the payload cannot be mapped; 2 wrong arguments.")]
pub(super) struct New {
    /// Name of the plugin, its folder and its URL: /v1/hooks/NAME
    name: String,
    /// Language of the mapping, which you compile
    #[arg(long, value_enum, required_unless_present_any = ["sender", "from", "from_event"])]
    lang: Option<Lang>,
    #[command(flatten)]
    source: ExampleSource,
    /// Whose deliveries it gets, from `hookmill sender list`
    #[arg(long)]
    sender: Option<String>,
    /// Create the folder here [default: the plugins folder]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The company that gets the tasks, and that has the event of --from-event
    #[arg(long, default_value = "company-1")]
    company: CompanyId,
    /// Replace the example's values by others of the same kind, in all files
    #[arg(long, conflicts_with = "lang")]
    redact_values: bool,
    #[command(flatten)]
    plugins: PluginsDirFlag,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Lang {
    Rust,
    Js,
    Python,
    Go,
    C,
}

type Files = &'static [(&'static str, &'static str)];

/// Paths and texts, from `templates/`; `{{…}}` is replaced.
macro_rules! files {
    ($($path:literal: $from:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $from)))),+]
    };
}

const COMMON: Files = files! {
    "plugin.toml": "templates/common/plugin.toml",
    "input.schema.json": "templates/common/input.schema.json",
    "fixtures/message.json": "templates/common/fixtures/message.json",
    "fixtures/no-deadline.json": "templates/common/fixtures/no-deadline.json",
    "fixtures/spam.json": "templates/common/fixtures/spam.json",
    "fixtures/empty.json": "templates/common/fixtures/empty.json",
    "README.md": "templates/common/README.md",
};

/// The parts of a template that depend on the language.
struct Template {
    called: &'static str,
    source: &'static str,
    needs: &'static str,
    ignored: &'static str,
    files: Files,
}

impl Lang {
    fn template(self) -> Template {
        match self {
            Self::Rust => Template {
                called: "Rust",
                source: "src/lib.rs",
                needs: "Needs Rust with `rustup target add wasm32-unknown-unknown`, and `cargo install wasm-tools`. `sdk/` is hookmill's own crate for plugins; `cargo doc --open -p hookmill-plugin` shows it.",
                ignored: "target",
                files: files! {
                    "Cargo.toml": "templates/rust/Cargo.toml",
                    "src/lib.rs": "templates/rust/src/lib.rs",
                    "build.sh": "templates/rust/build.sh",
                    "sdk/Cargo.toml": "sdk/rust/Cargo.toml",
                    "sdk/src/lib.rs": "sdk/rust/src/lib.rs",
                    "sdk/src/arena.rs": "sdk/rust/src/arena.rs",
                    "sdk/wit/mapper.wit": "wit/mapper.wit",
                },
            },
            Self::Js => Template {
                called: "JavaScript",
                source: "mapper.js",
                needs: "Needs Node.js 20 or newer and npm. The engine is QuickJS: it is complete JavaScript, but has no `fetch` and no `TextDecoder`. `console.log` writes to the plugin's log, and `new Date()` is when the event was received; `hookmill/` does this, and reports where an exception was thrown. Other files can be imported (`./other.js`).",
                ignored: "node_modules",
                files: files! {
                    "mapper.js": "templates/js/mapper.js",
                    "package.json": "templates/js/package.json",
                    "hookmill/entry.mjs": "templates/js/hookmill/entry.mjs",
                    "hookmill/globals.mjs": "templates/js/hookmill/globals.mjs",
                    "build.mjs": "templates/js/build.mjs",
                    "build.sh": "templates/js/build.sh",
                    "wit/mapper.wit": "wit/mapper.wit",
                },
            },
            Self::Python => Template {
                called: "Python",
                source: "app.py",
                needs: "Needs Python 3.10 or newer; `build.sh` fetches componentize-py into `.venv`. The component contains a complete interpreter: about 18 MB, and a few ms per call. `print` writes to the plugin's log, and `datetime.now()` is when the event was received; `hookmill/` does this, and reports where an exception was raised. Import modules at the top of a file: a call has no files.",
                ignored: ".venv\n__pycache__",
                files: files! {
                    "app.py": "templates/python/app.py",
                    "hookmill/entry.py": "templates/python/hookmill/entry.py",
                    "hookmill/globals.py": "templates/python/hookmill/globals.py",
                    "build.sh": "templates/python/build.sh",
                    "wit/mapper.wit": "wit/mapper.wit",
                },
            },
            Self::Go => Template {
                called: "Go",
                source: "main.go",
                needs: "Needs Go 1.21 or newer.",
                ignored: "",
                files: files! {
                    "main.go": "templates/go/main.go",
                    "go.mod": "templates/go/go.mod",
                    "build.sh": "templates/go/build.sh",
                },
            },
            Self::C => Template {
                called: "C",
                source: "src/main.c",
                needs: "Needs Zig, also as `pip install ziglang`, or clang with a WASI sysroot as `$CC`. `src/json.c` is a small JSON reader.",
                ignored: "",
                files: files! {
                    "src/main.c": "templates/c/src/main.c",
                    "src/json.c": "plugins/fax-inbound/src/json.c",
                    "src/json.h": "plugins/fax-inbound/src/json.h",
                    "build.sh": "templates/c/build.sh",
                },
            },
        }
    }
}

impl New {
    pub(super) fn options(&self) -> Options {
        Options { plugins_dir: self.plugins.options().plugins_dir, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        self.check_name()?;
        let folder = self.into.as_ref().unwrap_or(&config.plugins_dir).join(&self.name);
        if folder.exists() {
            return Err(Failure::usage(format!("{} is there already; choose another name", folder.display())));
        }
        let sender = match &self.sender {
            Some(name) => Some(NewSender { sender: config.senders.files.get(name).map_err(Failure::usage)? }),
            None => None,
        };
        if self.source.is_given() {
            let new = NewFrom {
                name: &self.name,
                source: &self.source,
                company: &self.company,
                elsewhere: &self.elsewhere,
                sender: sender.as_ref(),
                redact_values: self.redact_values,
            };
            return new.run(config, &folder, as_json);
        }
        if self.redact_values || self.source.has_type() {
            return Err(Failure::usage(
                "--redact-values and --content-type are for examples; add --from or --from-event",
            ));
        }
        let template = self.lang.map(Lang::template);
        let common = COMMON.iter().filter(|(path, _)| sender.is_none() || !path.starts_with("fixtures/"));
        for (template, (path, text)) in
            template.iter().flat_map(|it| common.clone().chain(it.files).map(move |file| (it, file)))
        {
            let text = match &sender {
                Some(it) if *path == "README.md" => it.readme(&self.name, README_LANGUAGE),
                Some(_) => NewSender::skipping(path, text),
                None => (*text).to_owned(),
            };
            write(&folder.join(path), self.filled(&text, template).as_bytes())?;
        }
        let manifest = COMMON[0].1.replace("\"company-1\"", &format!("\"{}\"", self.company));
        for (path, content) in sender.iter().flat_map(|it| it.files(&self.name, &manifest, template.is_some())) {
            write(&folder.join(path), &content)?;
        }
        if let Some(template) = &template {
            write(&folder.join(".gitignore"), format!("{}\n", template.ignored).as_bytes())?;
        }
        if as_json {
            let steps = sender.as_ref().map(|it| SetupSteps::of(&it.sender, &self.name));
            let (there, here) = steps.map(|it| (it.there, it.here)).unwrap_or_default();
            print::json(
                &json!({ "folder": folder, "source": template.as_ref().map(|it| it.source), "at_the_sender": there, "here": here }),
            );
            return Ok(());
        }
        self.print(&folder, template.as_ref(), sender.as_ref());
        Ok(())
    }

    fn print(&self, folder: &Path, template: Option<&Template>, sender: Option<&NewSender>) {
        if let Some(sender) = sender {
            say!(
                "{} is a plugin for {}; it skips every delivery until you write its mapping.",
                folder.display(),
                sender.sender.title
            );
            sender.print_steps(&self.name);
        }
        let Some(template) = template else { return };
        say!("{} is a plugin in {}. Build it and try it:", folder.display(), template.called);
        say!();
        say!("  {}/build.sh", folder.display());
        say!("  hookmill plugin test {0}", folder.display());
        say!();
        say!("Then edit {} and the fixtures. See README.md in the folder.", template.source);
    }

    /// Checks the name against `schemas/plugin-manifest.schema.json`.
    fn check_name(&self) -> Result<(), Failure> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=64).contains(&self.name.len()) && self.name.chars().all(good) && !self.name.starts_with('-');
        match (fits, self.name.as_str()) {
            (true, "tasks") => Err(Failure::usage("\"tasks\" is taken by POST /v1/tasks; choose another name")),
            (true, _) => Ok(()),
            (false, name) => Err(Failure::usage(format!(
                "\"{name}\" is not a valid name: use 1 to 64 lower-case letters, digits and hyphens"
            ))),
        }
    }

    fn filled(&self, text: &str, template: &Template) -> String {
        text.replace("{{name}}", &self.name)
            .replace("\"company-1\"", &format!("\"{}\"", self.company))
            .replace("{{language}}", template.called)
            .replace("{{build}}", "./build.sh                                     # makes mapper.wasm")
            .replace("{{source}}", template.source)
            .replace("{{needs}}", template.needs)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)?;
    if path.extension().is_some_and(|it| it == "sh") {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    Ok(())
}

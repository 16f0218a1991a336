//! The page itself, as GitHub shows Markdown.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use firstcome_proto::{
    Reason,
    access::{self, Access},
};
use prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, OneofDescriptor,
    ServiceDescriptor,
};
use prost_types::method_options::IdempotencyLevel;

use super::{
    contract::{self, Contract},
    reasons::{self, told},
};

/// What stands before the services.
const INTRODUCTION: &str = include_str!("introduction.md");
/// What every call may be answered with, so that no method names it.
const OF_EVERY_CALL: [Reason; 7] = [
    Reason::InvalidArgument,
    Reason::RateLimited,
    Reason::Overloaded,
    Reason::UpstreamUnavailable,
    Reason::DeadlineExceeded,
    Reason::Internal,
    Reason::NoSuchMethod,
];
/// What every call with a token may be answered with besides.
const OF_TOKENS: [Reason; 4] =
    [Reason::TokenInvalid, Reason::TokenExpired, Reason::TokenRevoked, Reason::PermissionDenied];

/// The whole page; fails when the contract contradicts itself.
pub fn write(contract: &Contract) -> Result<String> {
    let mut page = Page { contract, text: String::new(), named: BTreeSet::new() };
    page.introduction();
    page.contents();
    page.text.push_str("\n## Services\n");
    for service in contract.services(false) {
        page.service(&service)?;
    }
    page.reasons();
    page.line("\n## Messages\n\nWhat requests and answers are made of.");
    page.messages(false);
    page.line("\n## Enums");
    page.enums(false);
    page.text.push_str(
        "\n## Inside the mesh\n\nNot reachable through the edge, and not listed by its reflection: \
         only services with a certificate of the mesh call these. Here for who works on firstcome.\n",
    );
    for service in contract.services(true) {
        page.service(&service)?;
    }
    page.messages(true);
    page.enums(true);
    page.every_reason_is_named()?;
    page.every_link_leads_somewhere()?;
    Ok(page.text)
}

struct Page<'a> {
    contract: &'a Contract,
    text: String,
    /// The reasons that a method names.
    named: BTreeSet<String>,
}

impl Page<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn introduction(&mut self) {
        let list = |reasons: &[Reason]| {
            reasons
                .iter()
                .map(|reason| link_to_reason(reason.name()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let text = INTRODUCTION
            .replace("{of_every_call}", &list(&OF_EVERY_CALL))
            .replace("{of_tokens}", &list(&OF_TOKENS));
        self.text.push_str(&text);
    }

    fn contents(&mut self) {
        self.line("\n## Contents\n");
        self.line("| service | what it is for | methods |\n|---|---|---|");
        for service in self.contract.services(false) {
            let comment = self.contract.comment(&service.parent_file(), service.path());
            let purpose = without_name(
                comment.split_once(". ").map_or(comment, |(first, _)| first),
                service.name(),
            );
            let methods: Vec<_> = service
                .methods()
                .map(|method| format!("[{}](#{})", method.name(), anchor(method.full_name())))
                .collect();
            let link = format!("[{}](#{})", service.name(), anchor(service.full_name()));
            self.line(format!(
                "| {link} | {} | {} |",
                purpose.trim_end_matches('.'),
                methods.join(" · ")
            ));
        }
        self.line("\n[Reasons](#reasons) · [Messages](#messages) · [Enums](#enums) · [Inside the mesh](#inside-the-mesh)");
    }

    fn service(&mut self, service: &ServiceDescriptor) -> Result<()> {
        let comment = self.contract.comment(&service.parent_file(), service.path());
        let of_service = told(comment)?;
        self.line(format!(
            "\n### <a id=\"{}\"></a>{}\n",
            anchor(service.full_name()),
            service.name()
        ));
        self.line(format!(
            "`{}` · [{}](../proto/{1})\n",
            service.full_name(),
            service.parent_file().name()
        ));
        self.line(&of_service.text);
        for method in service.methods() {
            self.method(&method, &of_service.reasons)
                .with_context(|| format!("at {}", method.full_name()))?;
        }
        Ok(())
    }

    fn method(&mut self, method: &MethodDescriptor, of_service: &str) -> Result<()> {
        let comment = self.contract.comment(&method.parent_service().parent_file(), method.path());
        let told = told(comment)?;
        let (input, output) = (method.input(), method.output());
        self.line(format!(
            "\n#### <a id=\"{}\"></a>{}\n",
            anchor(method.full_name()),
            method.name()
        ));
        self.line(without_name(&told.text, method.name()));
        self.line("");
        self.line(format!("- *Call:* {}", access_of(method)));
        self.line(format!("- *Again:* {}", repetition_of(method)));
        if method.is_server_streaming() {
            self.line("- *Answer:* a stream");
        }
        let own = told
            .reasons
            .split(", ")
            .filter(|reason| !reason.is_empty() && *reason != "the token's");
        let own = own.collect::<Vec<_>>().join(", ");
        let all = [own.as_str(), of_service_only(of_service)]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if !all.is_empty() {
            self.named.extend(reasons::names(&all).map(str::to_owned));
            self.line(format!("- *Refused with:* {}", linked(&all)));
        }
        self.message(&input, "Request");
        self.message(&output, if method.is_server_streaming() { "Each answer" } else { "Answer" });
        Ok(())
    }

    /// A message of a method, or nothing where it has no fields.
    fn message(&mut self, message: &MessageDescriptor, role: &str) {
        let comment = self.contract.comment(&message.parent_file(), message.path()).to_owned();
        let said = without_name(&comment, message.name());
        if message.fields().len() == 0 {
            self.line(format!("\n**{role}** `{}`: {}", message.name(), lower(&said)));
            return;
        }
        self.line(format!("\n**{role}** `{}`\n", message.name()));
        self.fields(message);
    }

    fn fields(&mut self, message: &MessageDescriptor) {
        self.line("| field | type | what it says |\n|---|---|---|");
        for field in message.fields() {
            let comment = self.contract.comment(&message.parent_file(), field.path()).to_owned();
            let one_of = field.containing_oneof().map_or(String::new(), |one| one_of(&one));
            self.line(format!(
                "| `{}` | {} | {}{one_of} |",
                field.name(),
                type_of(&field),
                cell(&comment)
            ));
        }
    }

    fn reasons(&mut self) {
        let reasons = self.contract.reasons();
        self.line("\n## Reasons\n");
        self.line("| reason | gRPC code | what it means: what to do next |\n|---|---|---|");
        for value in reasons.values().filter(|value| value.number() != 0) {
            let comment = self.contract.comment(&reasons.parent_file(), value.path()).to_owned();
            let (code, meaning) = comment.split_once(". ").unwrap_or(("", &comment));
            let name = value.name().trim_start_matches(reasons::PREFIX);
            let line =
                format!("| <a id=\"reason-{name}\"></a>`{name}` | {code} | {} |", cell(meaning));
            self.line(line);
        }
    }

    fn messages(&mut self, internal: bool) {
        for message in self.contract.parts(internal) {
            let comment = self.contract.comment(&message.parent_file(), message.path()).to_owned();
            self.line(format!(
                "\n### <a id=\"{}\"></a>{}\n",
                anchor(message.full_name()),
                message.name()
            ));
            self.line(format!(
                "`{}`: {}\n",
                message.full_name(),
                lower(&without_name(&comment, message.name()))
            ));
            self.fields(&message);
        }
    }

    fn enums(&mut self, internal: bool) {
        for found in self.contract.enums(internal) {
            self.enumeration(&found);
        }
    }

    fn enumeration(&mut self, found: &EnumDescriptor) {
        let comment = self.contract.comment(&found.parent_file(), found.path()).to_owned();
        self.line(format!("\n### <a id=\"{}\"></a>{}\n", anchor(found.full_name()), found.name()));
        self.line(format!(
            "`{}`: {}\n",
            found.full_name(),
            lower(&without_name(&comment, found.name()))
        ));
        self.line("| value | number | what it says |\n|---|---|---|");
        for value in found.values() {
            let comment = self.contract.comment(&found.parent_file(), value.path()).to_owned();
            self.line(format!("| `{}` | {} | {} |", value.name(), value.number(), cell(&comment)));
        }
    }

    /// A reason that no method names is told by nobody, or the method forgot it.
    fn every_reason_is_named(&self) -> Result<()> {
        for value in self.contract.reasons().values().filter(|value| value.number() != 0) {
            let name = value.name().trim_start_matches(reasons::PREFIX);
            let general =
                OF_EVERY_CALL.iter().chain(&OF_TOKENS).any(|reason| reason.name() == name);
            ensure!(general || self.named.contains(name), "no method says that it answers {name}");
        }
        Ok(())
    }

    /// Those to what has an anchor of ours; chapters, which have none, are few and stay.
    fn every_link_leads_somewhere(&self) -> Result<()> {
        let links = self.text.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| link.contains("firstcome-") || link.starts_with("reason-"))
        {
            let there = self.text.contains(&format!("<a id=\"{link}\">"));
            ensure!(there, "a link leads to {link}, which is nowhere");
        }
        Ok(())
    }
}

fn access_of(method: &MethodDescriptor) -> &'static str {
    match access::of_method(method) {
        Access::Public => "anybody",
        Access::User => "a user, with a token",
        Access::Admin => "an operator, with a token",
        Access::Development => "anybody, in development",
        Access::Internal | Access::Unspecified => "services of the mesh",
    }
}

fn repetition_of(method: &MethodDescriptor) -> &'static str {
    let options = method.method_descriptor_proto().options.as_ref();
    match options
        .map_or(IdempotencyLevel::IdempotencyUnknown, |options| options.idempotency_level())
    {
        IdempotencyLevel::NoSideEffects => "reads",
        IdempotencyLevel::Idempotent => "may be repeated",
        IdempotencyLevel::IdempotencyUnknown => "with the same `idempotency_key`",
    }
}

/// Names the fields of which only one is set: they need not stand together.
fn one_of(group: &OneofDescriptor) -> String {
    let fields: Vec<_> = group.fields().map(|field| format!("`{}`", field.name())).collect();
    match &fields[..] {
        // Nothing else can be set yet.
        [_] => String::new(),
        _ => format!(" Exactly one of {}.", fields.join(", ")),
    }
}

/// What a service says of all its methods, but for the token's, which stand in the introduction.
fn of_service_only(reasons: &str) -> &str {
    reasons.trim_start_matches("the token's").trim_start_matches(", ")
}

fn type_of(field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Message(message) if message.is_map_entry() => {
            let (key, value) = (message.map_entry_key_field(), message.map_entry_value_field());
            return format!("map of {} to {}", type_of(&key), type_of(&value));
        }
        Kind::Message(message) => link(message.full_name(), message.name()),
        Kind::Enum(found) => link(found.full_name(), found.name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    if field.is_list() { format!("list of {one}") } else { one }
}

/// A link to one of ours; the well-known types are known well.
fn link(full_name: &str, name: &str) -> String {
    if full_name == reasons::ENUM {
        // They have a chapter of their own.
        return format!("[{name}](#reasons)");
    }
    if contract::is_ours(full_name) {
        format!("[{name}](#{})", anchor(full_name))
    } else {
        name.to_owned()
    }
}

fn link_to_reason(name: &str) -> String {
    format!("[{name}](#reason-{name})")
}

/// Every reason in a text as a link to what it means.
fn linked(text: &str) -> String {
    let mut linked = String::new();
    let mut rest = text;
    while let Some(name) = reasons::names(rest).next() {
        let start = rest.find(name).expect("it was found there");
        let is_reason = Reason::from_name(name).is_some();
        linked.push_str(&rest[..start]);
        linked.push_str(&if is_reason { link_to_reason(name) } else { name.to_owned() });
        rest = &rest[start + name.len()..];
    }
    linked + rest
}

fn anchor(full_name: &str) -> String {
    full_name.replace('.', "-").to_lowercase()
}

/// Comments begin with the name of what they stand at, which stands above them on the page.
fn without_name(comment: &str, name: &str) -> String {
    let said = comment.strip_prefix(name).map_or(comment, str::trim_start);
    let mut letters = said.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// To go on with after a colon.
fn lower(said: &str) -> String {
    let mut letters = said.trim_start_matches("Is ").chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// What would end a cell of a table does not.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

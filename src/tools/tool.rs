//! What a tool file writes ([`Tool`], [`WriteTool`]), what the register holds ([`AnyTool`]) and what a tool may touch ([`ToolCx`]).
//!
//! A tool is a unit struct with constants, an `Input`, an `Output` and the job itself. Schemas are derived from the types.
//! Not here: permission, limits, confirmation and usage; those are `dispatch` and `confirm`, the same for every tool.

use std::marker::PhantomData;

use futures::future::BoxFuture;
use ring::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::answer::{Answer, plain};
use super::bound;
use super::cx::ToolCx;
use super::error::ToolError;
use super::schema::{self, ArgumentCheck};

/// A named set of tools that a token can be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pack {
    /// What a telephone agent needs: short answers that can be spoken.
    Voice,
    /// What a chat agent of the sales desk needs.
    Sales,
    /// Read-only look into the data for analysts.
    Analyst,
    /// Tools that write into Odoo.
    Writes,
}

impl Pack {
    /// Every pack, in the order pages show them.
    pub const ALL: [Self; 4] = [Self::Voice, Self::Sales, Self::Analyst, Self::Writes];

    /// The word used in commands, tables and tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Sales => "sales",
            Self::Analyst => "analyst",
            Self::Writes => "writes",
        }
    }
}

/// Their words, in the same order.
pub static PACKS: [&str; Pack::ALL.len()] = {
    let mut words = [""; Pack::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Pack::ALL[at].as_str();
        at += 1;
    }
    words
};

/// Whether a tool changes anything in the tenant's Odoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Reads,
    /// Creates or changes records; two-step unless the tenant's policy says otherwise.
    Writes,
}

/// A tool that only reads.
pub trait Tool: Send + Sync + 'static {
    /// `verbo_sustantivo`, `^[a-z][a-z0-9_]{0,39}$`.
    const NAME: &'static str;
    /// A few words for people.
    const TITLE: &'static str;
    /// For the model: when to use it, what it does not do; at most 300 characters.
    const ABOUT: &'static str;
    /// The packs it belongs to.
    const PACKS: &'static [Pack];
    /// Whether the answer comes from the tenant's Odoo (and not only from data we hold).
    const ASKS_ODOO: bool;
    /// The rights its Odoo user needs, as (model, operation); the doctor checks them.
    const NEEDS: &'static [(&'static str, &'static str)] = &[];
    /// The arguments.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// The structured result.
    type Output: Serialize + JsonSchema + Send;
    /// Does the job.
    fn run(cx: &ToolCx, input: Self::Input) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;
}

/// A tool that writes: it first says what it would do, and does exactly that after confirmation.
///
/// `codigo_confirmacion` and `clave` are added to the input schema, and `codigo_confirmacion` and `vence` to the output, by the
/// register: a tool never sees them.
pub trait WriteTool: Send + Sync + 'static {
    /// See [`Tool::NAME`].
    const NAME: &'static str;
    /// See [`Tool::TITLE`].
    const TITLE: &'static str;
    /// See [`Tool::ABOUT`].
    const ABOUT: &'static str;
    /// See [`Tool::PACKS`].
    const PACKS: &'static [Pack];
    /// See [`Tool::NEEDS`].
    const NEEDS: &'static [(&'static str, &'static str)] = &[];
    /// The arguments, without `codigo_confirmacion` and `clave`.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// Everything that will be written, resolved to ids and amounts. Its digest is bound into the confirmation code, so that what is
    /// executed is what was previewed; leave volatile values (time, tokens) out.
    type Plan: Serialize + Send + 'static;
    /// One type for both steps: the preview fills `vista_previa`, the execution fills the rest.
    type Output: Serialize + JsonSchema + Send;
    /// Reads what is needed and decides what would be written. Writes nothing.
    fn plan(cx: &ToolCx, input: Self::Input) -> impl Future<Output = Result<Planned<Self::Plan, Self::Output>, ToolError>> + Send;
    /// What the person must see before confirming.
    fn preview(cx: &ToolCx, plan: &Self::Plan) -> Self::Output;
    /// Writes the plan. Called at most once per confirmation code and per `clave`.
    fn execute(cx: &ToolCx, plan: Self::Plan) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;
}

/// What planning a write came to.
pub enum Planned<P, O> {
    /// There is something to write.
    Write(P),
    /// Nothing to write: the answer is already known (for example the customer exists).
    Nothing(O),
}

/// A prepared call: finished, or waiting for the go-ahead to write.
pub enum Prepared {
    /// The structured result.
    Done(Answer),
    /// A write that has not been done.
    Write(PreparedWrite),
}

/// A write that is planned and can be run once.
pub struct PreparedWrite {
    /// SHA-256 of the plan: equal plans, equal digests.
    pub digest: [u8; 32],
    /// The preview, as a JSON object.
    pub preview: Value,
    /// Runs the write.
    pub run: Box<dyn FnOnce(ToolCx) -> BoxFuture<'static, Result<Value, ToolError>> + Send>,
}

/// The facts of a tool that do not depend on its types.
pub struct ToolFacts {
    /// See [`Tool::NAME`].
    pub name: &'static str,
    /// See [`Tool::TITLE`].
    pub title: &'static str,
    /// See [`Tool::ABOUT`].
    pub about: &'static str,
    /// See [`Tool::PACKS`].
    pub packs: &'static [Pack],
    /// Reads or writes.
    pub effect: Effect,
    /// See [`Tool::ASKS_ODOO`].
    pub asks_odoo: bool,
    /// See [`Tool::NEEDS`].
    pub needs: &'static [(&'static str, &'static str)],
    /// JSON Schema of the arguments: flat, object at the root, no unions.
    pub input_schema: Value,
    /// JSON Schema of the structured result.
    pub output_schema: Value,
    /// The compiled check of arguments against `input_schema`.
    pub arguments: ArgumentCheck,
}

impl ToolFacts {
    /// Its packs as people are told of them: the one for telephones last.
    pub fn packs_for_people(&self) -> impl Iterator<Item = &'static str> {
        let of = |voice: bool| self.packs.iter().filter(move |pack| (**pack == Pack::Voice) == voice).map(|pack| pack.as_str());
        of(false).chain(of(true))
    }
}

/// A tool as the register holds it.
pub trait AnyTool: Send + Sync {
    /// Its facts.
    fn facts(&self) -> &ToolFacts;
    /// Runs a reading tool, or plans a writing one. `arguments` have passed [`ToolFacts::arguments`].
    fn prepare(&self, cx: ToolCx, arguments: Value) -> BoxFuture<'static, Result<Prepared, ToolError>>;
}

/// Registers a reading tool.
#[must_use]
pub fn reads<T: Tool>() -> Box<dyn AnyTool> {
    let input_schema = schema::input::<T::Input>();
    let facts = ToolFacts {
        name: T::NAME,
        title: T::TITLE,
        about: T::ABOUT,
        packs: T::PACKS,
        effect: Effect::Reads,
        asks_odoo: T::ASKS_ODOO,
        needs: T::NEEDS,
        arguments: ArgumentCheck::new(&input_schema),
        input_schema,
        output_schema: schema::output::<T::Output>(),
    };
    Box::new(Reads::<T> { facts, tool: PhantomData })
}

/// Registers a writing tool.
#[must_use]
pub fn writes<T: WriteTool>() -> Box<dyn AnyTool> {
    let input_schema = schema::write_input::<T::Input>();
    let facts = ToolFacts {
        name: T::NAME,
        title: T::TITLE,
        about: T::ABOUT,
        packs: T::PACKS,
        effect: Effect::Writes,
        asks_odoo: true,
        needs: T::NEEDS,
        arguments: ArgumentCheck::new(&input_schema),
        input_schema,
        output_schema: schema::write_output::<T::Output>(),
    };
    Box::new(Writes::<T> { facts, tool: PhantomData })
}

struct Reads<T> {
    facts: ToolFacts,
    tool: PhantomData<T>,
}

impl<T: Tool> AnyTool for Reads<T> {
    fn facts(&self) -> &ToolFacts {
        &self.facts
    }

    fn prepare(&self, cx: ToolCx, arguments: Value) -> BoxFuture<'static, Result<Prepared, ToolError>> {
        Box::pin(async move {
            let input: T::Input = typed(arguments)?;
            Ok(Prepared::Done(Answer::of(&T::run(&cx, input).await?)?))
        })
    }
}

struct Writes<T> {
    facts: ToolFacts,
    tool: PhantomData<T>,
}

impl<T: WriteTool> AnyTool for Writes<T> {
    fn facts(&self) -> &ToolFacts {
        &self.facts
    }

    fn prepare(&self, cx: ToolCx, arguments: Value) -> BoxFuture<'static, Result<Prepared, ToolError>> {
        Box::pin(async move {
            let input: T::Input = typed(arguments)?;
            match T::plan(&cx, input).await? {
                Planned::Nothing(output) => Ok(Prepared::Done(light(plain(&output)).into())),
                Planned::Write(plan) => {
                    let preview = light(plain(&T::preview(&cx, &plan)));
                    let bytes = serde_json::to_vec(&plan).map_err(ToolError::internal)?;
                    let mut sha = [0; 32];
                    sha.copy_from_slice(digest(&SHA256, &bytes).as_ref());
                    Ok(Prepared::Write(PreparedWrite {
                        digest: sha,
                        preview,
                        run: Box::new(move |cx| Box::pin(async move { T::execute(&cx, plan).await.map(|output| light(plain(&output))) })),
                    }))
                }
            }
        })
    }
}

fn typed<I: DeserializeOwned>(arguments: Value) -> Result<I, ToolError> {
    serde_json::from_value(arguments).map_err(|error| ToolError::argument(error.to_string()))
}

/// A result that must be told whatever it weighs, because something was (or will be) written.
fn light(mut value: Value) -> Value {
    if bound::weight(&value) > bound::RESULT_BYTES_MAX {
        bound::cut(&mut value, 200, 50);
    }
    value
}

//! From one line to its answer.

use serde_json::{Map, Value};

use crate::error::{Hint, LineError, shortened};
use crate::inputs::Inputs;
use crate::json::{describe, parse};
use crate::method::Method;
use crate::{Kind, advantage, objective, reward};

impl Kind {
    /// The field that names the method.
    pub(crate) fn name_field(self) -> &'static str {
        match self {
            Kind::Advantage => "estimator",
            Kind::Objective => "objective",
            Kind::Reward => "reward",
        }
    }

    /// Everything that can be named there.
    pub(crate) fn methods(self) -> &'static [Method] {
        match self {
            Kind::Advantage => advantage::METHODS,
            Kind::Objective => objective::METHODS,
            Kind::Reward => reward::METHODS,
        }
    }
}

/// The answer to one line.
pub(crate) fn answer(kind: Kind, line: &[u8]) -> Result<Map<String, Value>, LineError> {
    let object = parse(line)?;
    let method = method(kind, &object)?;
    let inputs = Inputs::new(method, &object, kind.name_field())?;
    (method.evaluate)(&inputs).map(|outputs| outputs.into_object())
}

fn method(kind: Kind, object: &Map<String, Value>) -> Result<&'static Method, LineError> {
    let field = kind.name_field();
    let known = || kind.methods().iter().map(|method| method.name).collect();
    let name = match object.get(field) {
        Some(Value::String(name)) => name,
        Some(other) => {
            return Err(LineError::Wrong {
                place: format!("`{field}`"),
                found: describe(other),
                expected: "a string".to_owned(),
            });
        }
        None => {
            let known: Vec<&str> = known();
            return Err(LineError::Missing {
                field,
                reason: format!("it must be one of {}", known.join(", ")),
            });
        }
    };
    kind.methods()
        .iter()
        .find(|method| method.name == name)
        .ok_or_else(|| LineError::Unknown {
            what: format!("`{field}`"),
            name: shortened(name),
            hint: Hint::new(name, known()),
        })
}

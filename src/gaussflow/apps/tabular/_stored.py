"""A fitted model as JSON and tensors, and back; the classes that a file may name are listed, and nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from gaussflow.apps.tabular._pack import Packer, unpacked
from gaussflow.apps.tabular.frames._lattice import Lattice
from gaussflow.apps.tabular.frames._schema import Column
from gaussflow.apps.tabular.law._bag import Bag
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._curve import Curve
from gaussflow.apps.tabular.law._features import Encoding
from gaussflow.apps.tabular.law._forest import Forest, Tree
from gaussflow.apps.tabular.law._grid import Grid
from gaussflow.apps.tabular.law._joint import Joint
from gaussflow.apps.tabular.law._law import Law
from gaussflow.apps.tabular.law._odds import Odds
from gaussflow.apps.tabular.law._ridge import Ridge
from gaussflow.apps.tabular.law._values import Values
from gaussflow.apps.tabular.private._private import Statement
from gaussflow.apps.tabular.private._private_law import Groups, TableLaw
from gaussflow.apps.tabular.rules._coded_rules import Between, Combined, Gaps, Linear, Order, Steps, Total
from gaussflow.apps.tabular.rules._plan import Plan, Shift
from gaussflow.apps.tabular.rules._rules import from_json, to_json

if TYPE_CHECKING:
    from gaussflow.apps.tabular._synthesizer import TableSynthesizer

Model = TypeVar("Model", bound="TableSynthesizer")
LAWS = (Bag, Column, Curve, Encoding, Forest, Grid, Joint, Lattice, Law, Odds, Ridge, Skeleton, Tree, Values)
RULES = (Between, Combined, Gaps, Linear, Order, Plan, Shift, Steps, Total)
NOISY = (Groups, Statement, TableLaw)
CLASSES = {kind.__name__: kind for kind in (*LAWS, *RULES, *NOISY)}


def packed_model(model: TableSynthesizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON of a fitted model."""
    packer = Packer()
    meta = {
        "joint": packer.json(model.joint_),
        "columns": packer.json(model.columns_),
        "plan": packer.json(model.plan_),
        "constraints": [to_json(rule) for rule in model.constraints_],
        "rows": model.rows_,
        "privacy": packer.json(model.privacy_),
        "random_state": model.random_state,
    }
    return packer.tensors(), meta


def restored_model(kind: type[Model], meta: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model:
    """The model of what `packed_model` gave; raises for anything else."""
    rules = [from_json(rule) for rule in meta.get("constraints", [])]
    columns = unpacked(meta["columns"], tensors, CLASSES)
    made = [column.name for column in columns if column.made]
    model = kind(constraints=rules or None, identifiers=made or None, random_state=meta["random_state"])
    model.joint_ = unpacked(meta["joint"], tensors, CLASSES)
    privacy = unpacked(meta.get("privacy"), tensors, CLASSES)
    model.epsilon, model.delta = (privacy.epsilon, privacy.delta) if privacy else (None, 0.0)
    plan = unpacked(meta["plan"], tensors, CLASSES) if "plan" in meta else Plan()
    model._hold(columns, plan, rules, meta.get("rows", 0), privacy)
    return model

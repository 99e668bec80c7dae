"""Writes templates as CloudFormation gets them, in JSON: what SAM's transform makes of them, without AWS.

Usage: expand.py FOLDER TEMPLATE...
"""

import json
import pathlib
import sys

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

# What adds resources of its own: all that there may be is looked at.
PARAMETERS = {"GradualDeployment": "true"}
# What a deployment uploads, and names by its address then.
UPLOADED = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::Application": "Location"}


def expanded(template):
    if "Transform" not in template:
        return template
    for resource in template["Resources"].values():
        if name := UPLOADED.get(resource["Type"]):
            resource["Properties"][name] = "s3://uploads/" + resource["Properties"][name].strip("/")
    return Translator({}, Parser()).translate(template, parameter_values=PARAMETERS)


for path in map(pathlib.Path, sys.argv[2:]):
    written = pathlib.Path(sys.argv[1], "-".join(path.with_suffix(".json").parts))
    template = expanded(yaml_parse(path.read_text(encoding="utf-8")))
    written.write_text(json.dumps(template, indent=2, default=str) + "\n", encoding="utf-8")

// YAML on stdin, the same as JSON on stdout.
const { text } = require("node:stream/consumers");
const { load } = require("./outside.cjs");

text(process.stdin).then((given) => process.stdout.write(JSON.stringify(load("yaml").parse(given))));

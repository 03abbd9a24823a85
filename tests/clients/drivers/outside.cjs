// What the TypeScript drivers share: calls come in on stdin, what the client saw of each goes out on stdout.
const { createRequire } = require("node:module");
const { text } = require("node:stream/consumers");

// The clients live in the test environment, not beside this file.
exports.load = createRequire(`${process.env.BULKHEAD_NODE_HOME}/package.json`);

exports.visit = async (connect) => {
  const task = JSON.parse(await text(process.stdin));
  const { client, era } = await connect(task);
  const listed = {
    tools: (await client.listTools()).tools,
    resources: (await client.listResources()).resources,
    templates: (await client.listResourceTemplates()).resourceTemplates,
    prompts: (await client.listPrompts()).prompts,
  };
  const answers = [];
  for (const call of task.calls) answers.push(await answer(client, call));
  const seen = { era: era(client), listed, answers };
  await client.close();
  process.stdout.write(JSON.stringify(seen));
};

const answer = async (client, { kind, name, arguments: given }) => {
  try {
    if (kind === "tool") return { result: await client.callTool({ name, arguments: given }) };
    if (kind === "prompt") return { result: await client.getPrompt({ name, arguments: given }) };
    return { result: await client.readResource({ uri: name }) };
  } catch (error) {
    if (typeof error.code !== "number") throw error;
    return { error: { code: error.code, message: error.message, data: error.data ?? null } };
  }
};

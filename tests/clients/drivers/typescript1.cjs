// The TypeScript SDK of the older protocol, which most desktop clients embed: it checks structured content by the output schema.
const { load, visit } = require("./outside.cjs");
const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");

visit(async ({ server }) => {
  const client = new Client({ name: "typescript1", version: "1" });
  const transport = new StdioClientTransport({ ...server, stderr: "inherit" });
  await client.connect(transport);
  return { client, era: () => "2025-11-25" };
});

// The TypeScript client of today, in the era it is told to speak, over pipes or HTTP.
const { load, visit } = require("./outside.cjs");
const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");

visit(async ({ server, url, mode }) => {
  const client = new Client({ name: "typescript2", version: "1" }, { versionNegotiation: { mode } });
  await client.connect(
    url ? new StreamableHTTPClientTransport(new URL(url)) : new StdioClientTransport({ ...server, stderr: "inherit" }),
  );
  return { client, era: (connected) => connected.getNegotiatedProtocolVersion() };
});

// `npx mocha` runs every *.test.ts beside the code; whole-cluster tests live in test-cluster/ and run one after the other.
export default {
  spec: process.argv.some((a) => a.endsWith(".test.ts"))
    ? []
    : ["{base,proto,net,control-plane,node-agent,tsctl,scripts,test-cluster}/**/*.test.ts"],
  timeout: 20_000,
  forbidOnly: Boolean(process.env.CI),
  forbidPending: Boolean(process.env.CI),
  reporter: "dot",
};

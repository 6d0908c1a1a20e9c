// Stands in for node:child_process in the bundle of tsctl (see build.ts).
module.exports = {};

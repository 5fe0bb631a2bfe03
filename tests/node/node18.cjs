// SPDX-License-Identifier: Apache-2.0
// Loaded before each script: Node 18 has the class File, but not where the client looks.
globalThis.File ??= require("node:buffer").File;

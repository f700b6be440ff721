// The tus server in Node.js that cloudstore is measured against: @tus/server with its file store,
// as its authors set it up, without a line for each request.
//   node tus-server.mjs DIRECTORY
// It takes a free port of the loopback address and prints one line when it is ready.

import http from 'node:http';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';

const [directory] = process.argv.slice(2);
if (!directory) {
  console.error('usage: tus-server.mjs DIRECTORY');
  process.exit(2);
}

const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) });
const server = http.createServer((request, response) => tus.handle(request, response));
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

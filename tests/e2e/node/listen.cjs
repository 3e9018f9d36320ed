// An unmodified socket.io-client: tells on stdout what it hears, one JSON object a line.
// Arguments: URL with the namespace, options as JSON. Ends when stdin does.
const { io } = require("socket.io-client");

const [url, options] = process.argv.slice(2);
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const socket = io(url, { reconnection: false, ...JSON.parse(options) });

socket.on("connect", () => {
  socket.emit("subscribe", { instance: "whatever" }); // as upstream's own client does
  tell({ what: "connect", transport: socket.io.engine.transport.name });
  socket.io.engine.on("upgrade", (transport) => tell({ what: "upgrade", transport: transport.name }));
});
socket.on("connect_error", (error) => tell({ what: "refused", message: error.message, data: error.data }));
socket.on("disconnect", (reason) => tell({ what: "disconnect", reason }));
socket.onAny((name, ...payloads) => tell({ what: "event", name, payloads }));

process.stdin.resume();
process.stdin.on("end", () => {
  socket.disconnect();
  process.exit(0);
});

// memfs asks four times for each inode who runs this process, with a system call each time: a third of a simulated host's
// boot. Nobody changes the user in between, so it is asked once.
import process from "node:process";

for (const name of ["getuid", "getgid"] as const) {
	const id = process[name]?.();
	if (id !== undefined) process[name] = () => id;
}

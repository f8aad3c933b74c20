package crash

import "syscall"

// diesWithTest makes the kernel end a server whose test was killed or ran out of
// time, so that none is left behind.
func diesWithTest() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

//go:build !linux

package crash

import "syscall"

func diesWithTest() *syscall.SysProcAttr { return nil }
